package policy

// DiffWithin is Diff as far as tests need to look.
func DiffWithin(old, changed *Engine, apart int) ([]Change, Coverage) {
	return newUniverse(old, changed).diff(old, changed, apart)
}
