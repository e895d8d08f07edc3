"""The measurements that read the data set, one probe a file; all run in the same single pass."""
