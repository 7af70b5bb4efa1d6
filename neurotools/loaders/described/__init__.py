"""Files of nameless arrays (npz, npy, MATLAB, HDF5, tables), read as their user describes them."""
