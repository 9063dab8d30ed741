"""The measurements, one module for each subject, in the order in which they run."""
