package io.github.ptq4vit.artifact;

/** What to do with an output folder that is there already. */
public enum Existing {
    /** Nothing: fail. */
    REFUSE,
    /** Continue the interrupted calibration in it. */
    RESUME,
    /** Replace the checkpoint in it. A folder that holds anything but a checkpoint is never touched. */
    REPLACE
}
