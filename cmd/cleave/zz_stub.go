package main

type probeCommand struct{}

func (probeCommand) Run() error { return nil }
