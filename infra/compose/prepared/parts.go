package prepared

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/versity/versitygw/auth"
	"gopkg.in/yaml.v3"

	"github.com/countersign-dev/countersign/infra/objectstore"
)

// Provider is the file of one identity provider. It contains passwords.
type Provider struct {
	ID           string            `yaml:"id"`
	URL          string            `yaml:"url"`
	Organisation string            `yaml:"organisation"`
	People       []ProviderPerson  `yaml:"people"`
	Machines     []ProviderMachine `yaml:"machines"`
}

// ProviderPerson can log in. The password is the one that counts at each start.
type ProviderPerson struct {
	Login    string `yaml:"login"`
	Subject  string `yaml:"subject"`
	Name     string `yaml:"name"`
	Email    string `yaml:"email"`
	Password string `yaml:"password"`
	Disabled bool   `yaml:"disabled,omitempty"`
}

// ProviderMachine has the PEM of its public key (PKIX).
type ProviderMachine struct {
	Client string `yaml:"client"`
	Key    string `yaml:"key"`
}

// Profile is an entry of an AWS shared credentials file.
type Profile struct {
	Name string
	objectstore.Credential
}

// ReadProfiles reads the profiles with static keys, in the file's order.
func ReadProfiles(name string) ([]Profile, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the AWS credentials: %w", err)
	}
	var profiles []Profile
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if inner, ok := strings.CutPrefix(line, "["); ok {
			profiles = append(profiles, Profile{Name: strings.TrimSpace(strings.TrimSuffix(inner, "]"))})
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || len(profiles) == 0 {
			continue
		}
		switch last := &profiles[len(profiles)-1]; strings.TrimSpace(key) {
		case "aws_access_key_id":
			last.AccessKeyID = strings.TrimSpace(value)
		case "aws_secret_access_key":
			last.SecretAccessKey = strings.TrimSpace(value)
		}
	}
	for _, p := range profiles {
		if p.AccessKeyID == "" || p.SecretAccessKey == "" {
			return nil, fmt.Errorf("couldn't read the AWS credentials: profile %q in %s has no static key", p.Name, name)
		}
	}
	return profiles, nil
}

func find(profiles []Profile, name string) (Profile, bool) {
	at := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name })
	if at < 0 {
		return Profile{}, false
	}
	return profiles[at], true
}

// credentials gives each process the profiles that it uses. Nobody but the service
// of the buckets gets the admin's, so that no key can be made or ended over the network.
func (s *stack) credentials(made map[string][]byte) error {
	profiles, err := ReadProfiles(s.about.AWS.CredentialsFile)
	if err != nil {
		return err
	}
	users := map[string]auth.Account{}
	for _, p := range profiles {
		section := fmt.Sprintf("[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n\n", p.Name, p.AccessKeyID, p.SecretAccessKey)
		var names []string
		switch {
		case p.Name == s.about.AWS.AdminProfile:
			names = []string{"secrets/aws-buckets"}
			made["secrets/s3-root"] = fmt.Appendf(nil, "ROOT_ACCESS_KEY_ID='%s'\nROOT_SECRET_ACCESS_KEY='%s'\n", p.AccessKeyID, p.SecretAccessKey)
		case strings.HasSuffix(p.Name, "-worker"):
			names = []string{"secrets/aws-workers", "secrets/aws-gate", "secrets/aws-kms"}
		case strings.HasSuffix(p.Name, "-starter"):
			names = []string{"secrets/aws-starter", "secrets/aws-gate", "secrets/aws-kms"}
		default:
			return fmt.Errorf("profile %q belongs to no process", p.Name)
		}
		for _, name := range names {
			made[name] = append(made[name], section...)
		}
		if p.Name != s.about.AWS.AdminProfile {
			users[p.AccessKeyID] = auth.Account{Access: p.AccessKeyID, Secret: p.SecretAccessKey, Role: auth.RoleUser}
		}
	}
	return encode(made, "secrets/s3-users.json", map[string]any{"accessAccounts": users})
}

func (s *stack) providers(made map[string][]byte) error {
	organisations := map[string]string{"acme": "Acme Corporation", "globex": "Globex GmbH", "hart": "Hart & Lowe LLP", "nord": "Nordwind Resale"}
	for id, issuer := range s.about.Issuers {
		p := Provider{ID: id, URL: issuer.URL, Organisation: organisations[id]}
		for _, person := range s.about.People {
			if person.Issuer == id {
				p.People = append(p.People, ProviderPerson{person.Login, person.Subject, person.Name, person.Email, person.Password, person.Disabled})
			}
		}
		for _, machine := range s.about.Machines {
			if machine.Issuer != id {
				continue
			}
			public, err := publicHalf(machine.KeyFile)
			if err != nil {
				return fmt.Errorf("couldn't read the key of machine %s: %w", machine.Client, err)
			}
			p.Machines = append(p.Machines, ProviderMachine{Client: machine.Client, Key: public})
		}
		text, err := yaml.Marshal(p)
		if err != nil {
			return err
		}
		made["secrets/idp-"+id+".yaml"] = text
	}
	return nil
}

func publicHalf(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("it isn't PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return "", errors.New("it has no public half")
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// keys puts the key store's files into one: path below the store to content.
func (s *stack) keys(made map[string][]byte) error {
	root := filepath.Join(s.dir, "kms")
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == "lock" {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		files[name] = string(text)
		return err
	})
	if err != nil {
		return err
	}
	return encode(made, "secrets/kms-keys.json", files)
}

// tenantFile drops the webhooks: the installation has nobody who receives them.
func (s *stack) tenantFile(tenant string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "tenants", tenant+".yaml"))
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("couldn't read the file of tenant %s: %w", tenant, err)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("the file of tenant %s isn't a mapping", tenant)
	}
	settings := document.Content[0]
	document.HeadComment, settings.HeadComment = "", ""
	if len(settings.Content) > 0 {
		settings.Content[0].HeadComment = "" // it says that the local stack writes the file at each start
	}
	for i := 0; i+1 < len(settings.Content); i += 2 {
		if settings.Content[i].Value == "webhooks" {
			settings.Content = slices.Delete(settings.Content, i, i+2)
			break
		}
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(settings); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}
