package idp

import "golang.org/x/crypto/bcrypt"

func init() { hashCost = bcrypt.MinCost }
