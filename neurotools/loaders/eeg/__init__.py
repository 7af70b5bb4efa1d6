"""EEG, MEG, ECoG and sEEG: what MNE reads, BIDS, and text tables."""
