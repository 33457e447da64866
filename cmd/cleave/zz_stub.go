package main
type probeCommand struct{}
type serveCommand struct{}
func (probeCommand) Run() error { return nil }
func (serveCommand) Run() error { return nil }
