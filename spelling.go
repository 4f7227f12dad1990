package countersign

// What identifiers are spelled like is asked of each decision and each grant, and by every process: so these are loops and no regular expressions, which take
// longer to compile than a bundle takes to open.

// isName says that s is a lower-case letter and then lower-case letters, digits and dashes, least to most characters in all.
func isName(s string, least, most int) bool {
	if len(s) < least || len(s) > most || s == "" || !isLower(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

// Names of roles, purposes, stages and issuers have 1 to 40 characters.
func isShortName(s string) bool { return isName(s, 1, 40) }

// isRequestID says that s is 1 to 80 letters, digits, dots, underscores and dashes, a letter or digit first.
func isRequestID(s string) bool {
	if s == "" || len(s) > 80 || !isLetter(s[0]) && !isDigit(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// isDigest says that s is 64 lower-case hex digits.
func isDigest(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isLower(c byte) bool  { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool { return isLower(c) || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
