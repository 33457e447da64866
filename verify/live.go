package verify

import (
	"context"
	"errors"
)

type Timeline struct{}
type Status struct{}

func watch(context.Context, Config) (*Report, error) { return nil, errors.New("later") }
