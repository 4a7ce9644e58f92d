"""ICSG3D (Court et al. 2020): a crystal as a picture in three dimensions, compressed by a convolutional network."""
