"""Tables as pandas reads them: files, values and targets, for every modality that takes a DataFrame."""
