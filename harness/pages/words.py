"""How to read the report, for a reader who has seen nothing else."""

READING = (
    (
        "Situations",
        "Compare results within one situation only. One image at a time: the method alone. A stream or the "
        "whole set of unlabelled test images: an adapter saw them, and may have estimated the test prior. Labelled "
        "source images: it also had labelled images beyond the training set. Upper references were told the true test "
        "prior or the test labels; nobody has those, and no such line is ranked with the others.",
    ),
    (
        "Shifts",
        "Forward (F) test sets are long-tailed in the order of the training classes, backward (B) in reverse order, "
        "uniform (U) has every class equally often; the number is the ratio of the largest to the smallest class. "
        "Shuffled and Dirichlet shifts follow no class order, so that no method can profit from knowing it.",
    ),
    (
        "Shot groups",
        "many, med and few: mean accuracy of the classes with more than 100, 20 to 100, and fewer than 20 training "
        "images, over classes that the test set contains; a dash where it contains none.",
    ),
    (
        "Intervals",
        "± is the standard deviation over train seeds (n - 1), and there is none for one seed; a range is the 95 % "
        "Wilson interval of one draw. In the answer, intervals and p come from a bootstrap of test images and train "
        "seeds, p adjusted for the number of comparisons (Holm). Loses more than the interval: on every seed the "
        "accuracy without adaptation lies above the interval of the adapted row.",
    ),
    (
        "Regret",
        "How far a choice lies behind the best of its table on one shift; the largest regret is the worst over shifts.",
    ),
    (
        "TV",
        "Total variation between two label distributions, from 0 (the same) to 1. TV train: training and test prior; "
        "TV pred: predicted labels and test prior; TV est: the adapter's estimate and the test prior.",
    ),
    (
        "No adaptation",
        "The mean of the expert logits (adapter mean); every gain and loss is taken against it on the same images.",
    ),
)
"""Terms and what they mean here."""
