"""Writes what scikit-learn and OpenCV give: bow.json and descriptors.json beside this script.

    python3 make_bow.py 32bit.png

bow.json: random descriptors of 40 crops, words by scikit-learn's KMeans, the word of each descriptor, and
the crops' TF-IDF; the last crop has no descriptor. descriptors.json: key points of squares of the photo,
a PNG, so that no JPEG decoder has a say. Made with scikit-learn 1.9.1, numpy 1.26.4 and
opencv-python-headless 4.6.0.66, which has the version of OpenCV that Debian 12 has.
"""
import json, pathlib, sys
import cv2, numpy as np
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfTransformer

HERE = pathlib.Path(__file__).parent
DIM, WORDS = 19, 12  # no multiple of a vector register
SIDE, CORNERS = 160, [(200, 140), (290, 270), (230, 190), (40, 60)]  # left, top
ROWS = 12  # descriptors stored of each square


def bag_of_words():
    random = np.random.default_rng(0)
    # Crops differ in which words they use, so that words differ in how many crops have them.
    themes = random.integers(0, 256, (15, DIM))
    pick = lambda size: themes[random.choice(15, size, p=np.arange(15, 0, -1) / 120)]
    noisy = lambda rows: np.clip(rows + random.normal(0, 30, rows.shape), 0, 255).astype(np.uint8)
    crops = [noisy(pick(random.integers(3, 20))) for _ in range(39)] + [np.zeros((0, DIM), np.uint8)]
    rows = np.concatenate(crops).astype(np.float64)
    means = KMeans(WORDS, n_init=10, random_state=0).fit(rows)
    owners = [means.predict(crop.astype(np.float64)).tolist() if len(crop) else [] for crop in crops]
    counts = np.array([np.bincount(o, minlength=WORDS) for o in map(np.int64, owners)])
    tf_idf = TfidfTransformer(norm=None, smooth_idf=True).fit_transform(counts).toarray()
    return {
        "crops": [crop.tolist() for crop in crops],
        "words": means.cluster_centers_.round(4).tolist(),
        "inertia": round(float(means.inertia_), 1),
        "owners": owners,
        "tf_idf": tf_idf.round(6).tolist(),
    }


def descriptors(photo):
    detectors = {
        "sift": cv2.SIFT_create(300, 3, 0.005, 10, 1.6, cv2.CV_8U),
        "orb": cv2.ORB_create(300, edgeThreshold=10, patchSize=20, fastThreshold=2),
    }
    for left, top in CORNERS:
        luma = cv2.cvtColor(photo[top : top + SIDE, left : left + SIDE], cv2.COLOR_BGR2GRAY)
        for kind, detector in detectors.items():
            found = detector.detectAndCompute(luma, None)[1]
            rows = found[:: len(found) // ROWS][:ROWS]
            if kind == "orb":
                rows = np.unpackbits(rows, axis=1, bitorder="little")
            yield {"kind": kind, "left": left, "top": top, "count": len(found), "rows": rows.tolist()}


def write(name, value):
    (HERE / name).write_text(json.dumps(value, separators=(",", ":")).replace("},{", "},\n{") + "\n")


write("bow.json", bag_of_words())
write("descriptors.json", list(descriptors(cv2.imread(sys.argv[1]))))
