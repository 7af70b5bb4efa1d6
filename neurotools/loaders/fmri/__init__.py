"""fMRI: NIfTI with an atlas, BIDS and OpenfMRI folders, tables of confounds."""
