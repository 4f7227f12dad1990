package objectstore

import (
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
)

// accounts is a fixed set of users, kept in memory: the gateway's own IAM
// directory would write secrets to yet another file. All of its management calls
// are refused.
type accounts map[string]auth.Account

var _ auth.IAMService = accounts(nil)

func newAccounts(root Credential, users []User) accounts {
	all := accounts{root.AccessKeyID: {Access: root.AccessKeyID, Secret: root.SecretAccessKey, Role: auth.RoleAdmin}}
	for _, user := range users {
		// RoleUser may not make buckets.
		all[user.AccessKeyID] = auth.Account{Access: user.AccessKeyID, Secret: user.SecretAccessKey, Role: auth.RoleUser}
	}
	return all
}

func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	account, ok := a[access]
	if !ok {
		return auth.Account{}, auth.ErrNoSuchUser
	}
	return account, nil
}

func (a accounts) ResolveAccounts(accessKeyIDs []string) ([]string, error) {
	var missing []string
	for _, access := range accessKeyIDs {
		if _, ok := a[access]; !ok {
			missing = append(missing, access)
		}
	}
	return missing, nil
}

var errFixed = s3err.GetAPIError(s3err.ErrAdminMethodNotSupported)

func (accounts) CreateAccount(auth.Account) error                  { return errFixed }
func (accounts) UpdateUserAccount(string, auth.MutableProps) error { return errFixed }
func (accounts) DeleteUserAccount(string) error                    { return errFixed }
func (accounts) ListUserAccounts() ([]auth.Account, error)         { return nil, errFixed }
func (accounts) Shutdown() error                                   { return nil }
