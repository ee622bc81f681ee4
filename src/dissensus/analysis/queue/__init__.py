"""Queue: the items of a study that most deserve another look, with the reason of each."""
