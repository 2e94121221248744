"""The command `mggtalk`: model weights, looks at the data, state of the machine. Stages run through `pipelines`."""
