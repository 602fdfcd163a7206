//! The rule for names of people, the same on every page, on the command line and in files.

/// Largest length of a name, characters: room for a name with titles and a role, and one line on a page.
const MAX_CHARS: usize = 200;

/// Returns a name as an edit has it: without white space at the ends, and with one space for white space inside,
/// such as a line break. `None` for an empty name, which removes a name.
///
/// # Errors
/// A clause, when the name is too long, has a control character, or is only a number.
pub fn name(given: &str) -> Result<Option<String>, String> {
    let name = given.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.chars().count() > MAX_CHARS || name.chars().any(char::is_control) {
        return Err(format!("a name has at most {MAX_CHARS} characters and no control characters"));
    }
    if is_number(&name) {
        return Err(
            "a name cannot be only a number, because a number stands for the person with that number".into(),
        );
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// Returns whether a text that stands for a person is a number, which never stands for a name.
pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_of_words() {
        assert_eq!(name("  Ross\r\n Geller\t"), Ok(Some("Ross Geller".into())));
        assert_eq!((name(" \n"), name("")), (Ok(None), Ok(None)));
        let longest = "é".repeat(MAX_CHARS);
        assert_eq!(name(&longest), Ok(Some(longest.clone())));
        for refused in [longest + "é", "a\u{7}b".into(), "3".into(), " 007 ".into()] {
            assert!(name(&refused).is_err(), "{refused:?}");
        }
        assert_eq!(name("7 of 9"), Ok(Some("7 of 9".into())));
    }
}
