package kms

import (
	"fmt"
	"net/http"
)

// failure is an error in AWS's shape, which the caller is told.
type failure struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
	status  int
}

func (f *failure) Error() string { return f.Type + ": " + f.Message }

// fail makes a failure with status 400, which KMS uses for nearly all.
func fail(kind, format string, args ...any) *failure {
	return failStatus(http.StatusBadRequest, kind, format, args...)
}

func failStatus(status int, kind, format string, args ...any) *failure {
	return &failure{Type: kind, Message: fmt.Sprintf(format, args...), status: status}
}

func invalid(format string, args ...any) *failure {
	return fail("ValidationException", format, args...)
}

// checkLength is AWS's validation of a member's length.
func checkLength(member string, n, least, most int) error {
	switch {
	case n < least:
		return invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length greater than or equal to %d", member, least)
	case n > most:
		return invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", member, most)
	}
	return nil
}

// notInEnum is AWS's validation of a member that has a fixed set of values.
func notInEnum(member string) error {
	return invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must satisfy enum value set", member)
}
