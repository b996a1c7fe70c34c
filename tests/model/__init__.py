"""An exhaustive model of the live-write protocol: every guard is off in turn, and something must then be lost."""
