"""The command `mggtalk`: model weights and the state of the machine. Stages run through `pipelines`."""
