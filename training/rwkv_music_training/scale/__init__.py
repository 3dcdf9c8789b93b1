"""Many processes and runs that survive: how a run is spread over devices, saved, resumed and taken out."""
