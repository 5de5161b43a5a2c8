"""The published long-tailed multi-label training sets: classes, label counts and sizes (Wu et al., ECCV 2020).

VOC-LT (VOC-MLT): 1,142 images of VOC2012, tested on VOC2007's test set. COCO-LT (COCO-MLT): 1,909 images of COCO's
train2017, tested on val2017. The images are those of the published lists of ids, which are not shipped; the counts are
those that a loaded training set must have. Classes stand in the datasets' own order.
"""

_VOC = """\
aeroplane 6, bicycle 34, bird 8, boat 14, bottle 154, bus 17, car 249, cat 29, chair 479, cow 4, diningtable 240,
dog 48, horse 11, motorbike 20, person 775, pottedplant 100, sheep 5, sofa 82, train 7, tvmonitor 64"""

_COCO = """\
person 1128, bicycle 37, car 276, motorcycle 32, airplane 9, bus 41, train 18, truck 87, boat 20, traffic light 50,
fire hydrant 11, stop sign 13, parking meter 8, bench 97, bird 19, cat 49, dog 70, horse 17, sheep 7, cow 10,
elephant 8, bear 6, zebra 7, giraffe 7, backpack 100, umbrella 39, handbag 189, tie 31, suitcase 24, frisbee 11,
skis 12, snowboard 8, sports ball 35, kite 10, baseball bat 25, baseball glove 21, skateboard 17, surfboard 10,
tennis racket 20, bottle 460, wine glass 84, cup 498, fork 126, knife 207, spoon 173, bowl 366, banana 39, apple 35,
sandwich 44, orange 36, broccoli 29, carrot 25, hot dog 14, pizza 45, donut 16, cake 73, chair 585, couch 153,
potted plant 164, bed 44, dining table 624, toilet 25, tv 200, laptop 137, mouse 70, remote 89, keyboard 73,
cell phone 127, microwave 91, oven 175, toaster 9, sink 237, refrigerator 119, book 292, clock 87, vase 113,
scissors 15, teddy bear 21, hair drier 6, toothbrush 11"""


def _read(text: str) -> dict[str, int]:
    """Read the label counts by class, in order."""
    pairs = (part.strip().rpartition(" ") for part in text.split(","))
    return {name: int(count) for name, _, count in pairs}


VOC_COUNTS, VOC_IMAGES = _read(_VOC), 1142
COCO_COUNTS, COCO_IMAGES = _read(_COCO), 1909
