"""A pipeline that a user would put together today; the other sides of `cargo xtask bench peers`.

    python peer.py PEER VIDEO OUT.csv WEIGHTS_DIR THREADS

Every frame is decoded. At a cut, as PySceneDetect's HistogramDetector finds it, all tracks end. Faces of every frame, or of
every fifth, join tracks by IoU. The best faces of a track are embedded, and average linkage groups the means. Constants
are the published defaults of the parts, never fitted to clips. OUT.csv: frame,x,y,w,h,track,cluster.
"""
import csv
import itertools
import pathlib
import sys
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from accuracy import overlap

CUT = 0.95  # PySceneDetect: a correlation of luma histograms of at most 1 - threshold, which is 0.05
SAME = 0.3  # SORT: least IoU of a face with the last one of its track
HITS = 3  # SORT: faces that make a track
PATIENCE = 30  # ByteTrack: frames that a track waits for its next face
FACES = 8  # Of a track, those embedded
# Right eye, left eye, nose and corners of the mouth in a picture of 112 × 112 pixels, as ArcFace and SFace have them.
POINTS = np.float32([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


class YuNet:
    """The detector of OpenCV. Its own thresholds are a score of 0.9, and an IoU of 0.3 of two boxes of a face."""

    def __init__(self, folder, size, score=0.9):
        self.net = cv2.FaceDetectorYN.create(str(folder / "yunet.onnx"), "", size, score)

    def detect(self, image):
        """Faces: box, score, and whatever `crop` needs."""
        found = self.net.detect(image)[1]
        return [] if found is None else [(face[:4].tolist(), face[14], face) for face in found]


class Onnx(YuNet):
    """SFace by onnxruntime, the crops of a track at a time."""

    metric, threshold, stride = "cosine", 1 - 0.363, 1  # OpenCV: one person from a similarity of 0.363

    def __init__(self, folder, size, threads):
        import onnxruntime

        super().__init__(folder, size, 0.7)  # the least score of Frigate and Immich
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self.session = onnxruntime.InferenceSession(folder / "sface.onnx", options, ["CPUExecutionProvider"])

    def crop(self, image, face):
        matrix, _ = cv2.estimateAffinePartial2D(face[4:14].reshape(5, 2), POINTS, method=cv2.LMEDS)
        return cv2.warpAffine(image, matrix, (112, 112))

    def embed(self, crops):
        batch = np.stack(crops)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        return self.session.run(None, {self.session.get_inputs()[0].name: batch})[0]


class Fifth(Onnx):
    stride = 5


class OpenCv(YuNet):
    """SFace by OpenCV."""

    metric, threshold, stride = Onnx.metric, Onnx.threshold, 1

    def __init__(self, folder, size, threads):
        super().__init__(folder, size)
        self.sface = cv2.FaceRecognizerSF.create(str(folder / "sface.onnx"), "")

    def crop(self, image, face):
        return self.sface.alignCrop(image, face)

    def embed(self, crops):
        return np.concatenate([self.sface.feature(crop).copy() for crop in crops])


class FaceRecognition:
    """dlib as the package face_recognition calls it: HOG on a doubled picture, five points, ResNet."""

    metric, threshold, stride = "euclidean", 0.6, 5  # dlib: one person up to a distance of 0.6

    def __init__(self, folder, size, threads):
        import dlib
        import face_recognition_models as weights

        self.dlib, self.hog = dlib, dlib.get_frontal_face_detector()
        self.points = dlib.shape_predictor(weights.pose_predictor_five_point_model_location())
        self.net = dlib.face_recognition_model_v1(weights.face_recognition_model_location())

    def detect(self, image):
        found, scores, _ = self.hog.run(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), 1, 0.0)
        return [((f.left(), f.top(), f.width(), f.height()), score, f) for f, score in zip(found, scores)]

    def crop(self, image, face):
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return self.dlib.get_face_chip(image, self.points(image, face), 150)

    def embed(self, crops):
        return np.array([self.net.compute_face_descriptor(crop) for crop in crops])


PEERS = {"yunet-sface": Onnx, "yunet-sface-5": Fifth, "opencv": OpenCv, "face_recognition": FaceRecognition}


@dataclass
class Track:
    looks: list = field(default_factory=list)  # frame, x, y, w, h
    crops: list = field(default_factory=list)  # worth and crop, the best first

    def add(self, frame, face, image, peer):
        box, score, of = face
        self.looks.append((frame, *box))
        worth = score * min(box[2:])
        if len(self.crops) < FACES or worth > self.crops[-1][0]:
            self.crops = sorted([*self.crops, (worth, peer.crop(image, of))], key=lambda crop: -crop[0])[:FACES]


def tracks_of(capture, peer):
    """Tracks of a video, in the order of their ends."""
    live, ended, before = [], [], None
    for frame in itertools.count():
        there, image = capture.read()
        if not there:
            break
        histogram = cv2.calcHist([cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)], [0], None, [256], [0, 256])
        if before is not None and cv2.compareHist(before, histogram, cv2.HISTCMP_CORREL) <= CUT:
            ended, live = ended + live, []
        before = histogram
        if frame % peer.stride:
            continue
        ended += [track for track in live if frame - track.looks[-1][0] > PATIENCE]
        live = [track for track in live if frame - track.looks[-1][0] <= PATIENCE]
        faces = dict(enumerate(peer.detect(image)))
        pairs = [(overlap(t.looks[-1][1:], f[0]), i, j) for i, t in enumerate(live) for j, f in faces.items()]
        free = set(range(len(live)))
        for iou, i, j in sorted(pairs, reverse=True):
            if iou >= SAME and i in free and j in faces:
                free.remove(i)
                live[i].add(frame, faces.pop(j), image, peer)
        for face in faces.values():
            live.append(Track())
            live[-1].add(frame, face, image, peer)
    return [track for track in ended + live if len(track.looks) >= HITS]


def clusters_of(tracks, peer):
    """The cluster of each track."""
    if len(tracks) < 2:
        return [1] * len(tracks)
    vectors = []
    for track in tracks:
        found = peer.embed([crop for _, crop in track.crops])
        if peer.metric == "cosine":
            found = found / np.linalg.norm(found, axis=1, keepdims=True)
        vectors.append(found.mean(axis=0))
    return fcluster(linkage(np.array(vectors), "average", peer.metric), peer.threshold, "distance")


def main(name, video, out, folder, threads):
    cv2.setNumThreads(int(threads))
    capture = cv2.VideoCapture(video, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, int(threads)])
    if not capture.isOpened():
        sys.exit(f"error: OpenCV failed to open `{video}`")
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    peer = PEERS[name](pathlib.Path(folder), size, int(threads))
    tracks = tracks_of(capture, peer)
    with open(out, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", "x", "y", "w", "h", "track", "cluster"])
        for number, (track, cluster) in enumerate(zip(tracks, clusters_of(tracks, peer))):
            looks = np.array(track.looks)
            frames = np.arange(looks[0, 0], looks[-1, 0] + 1)
            # Between looks, a face moves evenly.
            edges = [np.interp(frames, looks[:, 0], looks[:, edge]).round(2) for edge in range(1, 5)]
            rows.writerows((int(frame), *box, number, cluster) for frame, *box in zip(frames, *edges))


try:
    main(*sys.argv[1:])
except KeyboardInterrupt:
    sys.exit(130)
except ModuleNotFoundError as missing:
    sys.exit(f"error: no Python package `{missing.name}`\nhint: `cargo xtask bench peers` installs it")
