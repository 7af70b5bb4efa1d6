"""Spikes: recording systems through neo, folders of phy, and objects and files of pynapple."""
