"""tfs-admin status: the versions of models and their states."""
