"""The command `mggtalk`: model weights, parameters, looks at the data, the machine; `pipelines` run the stages."""
