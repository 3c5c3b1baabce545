"""Progressive growing of GANs after Karras et al. 2018: settings, schedule, networks, losses, training."""
