// Package compose checks the shared installation's docker-compose.yml and Dockerfile
// without a container engine.
package compose

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/countersign-dev/countersign/infra/compose/prepared"
)

const root = "../.."

// load reads the file as the docker command does: schema, interpolation, references
// between services, networks, volumes, configs and secrets.
func load(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")},
		cli.WithLoadOptions(), cli.WithNormalization(true), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Services) < 10 {
		t.Fatalf("the file has only %d services", len(project.Services))
	}
	return project
}

func each(t *testing.T, check func(t *testing.T, project *types.Project, service types.ServiceConfig)) {
	t.Helper()
	project := load(t)
	for name, service := range project.Services {
		t.Run(name, func(t *testing.T) { check(t, project, service) })
	}
}

func TestEveryServiceSaysWhetherItIsHealthyAndComesBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ *types.Project, s types.ServiceConfig) {
		if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 || s.HealthCheck.Test[0] == "NONE" {
			t.Error("it has no health check")
		} else if s.HealthCheck.Interval == nil || s.HealthCheck.Timeout == nil || s.HealthCheck.Retries == nil {
			t.Error("its health check leaves interval, timeout or retries to the engine")
		}
		if s.Restart != types.RestartPolicyUnlessStopped {
			t.Errorf("its restart policy is %q", s.Restart)
		}
	})
}

// floating are tags that name another image tomorrow.
var floating = regexp.MustCompile(`^(|latest|stable|main|master|edge|nightly|\d+)(-.*)?$`)

// pinned is an image with a tag of at least two numbers, or a digest.
func pinned(image string) bool {
	if strings.Contains(image, "@sha256:") {
		return true
	}
	name, tag, ok := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	return ok && name != "" && !floating.MatchString(tag)
}

func TestEveryImageIsPinnedOrBuiltFromATargetThatExists(t *testing.T) {
	t.Parallel()
	file := readDockerfile(t)
	each(t, func(t *testing.T, _ *types.Project, s types.ServiceConfig) {
		switch {
		case s.Build == nil && !pinned(s.Image):
			t.Errorf("the image %q isn't pinned", s.Image)
		case s.Build != nil && !slices.Contains(file.stages, s.Build.Target):
			t.Errorf("the Dockerfile has no target %q", s.Build.Target)
		}
	})
	for _, image := range file.bases {
		// distroless publishes no version tags; its name carries Debian's.
		if !pinned(image) && !strings.HasPrefix(image, "gcr.io/distroless/static-debian12:") {
			t.Errorf("the Dockerfile's base %q isn't pinned", image)
		}
	}
	for image, want := range map[string]bool{
		"postgres": false, "postgres:latest": false, "postgres:17": false, "postgres:17-bookworm": false, "localhost:5000/x": false,
		"postgres:17.6-bookworm": true, "axllent/mailpit:v1.27.11": true, "localhost:5000/x:v1.2": true, "x@sha256:00": true,
	} {
		if pinned(image) != want {
			t.Errorf("pinned(%q) is %v", image, !want)
		}
	}
}

func TestNobodyIsPrivileged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ *types.Project, s types.ServiceConfig) {
		if s.Privileged || len(s.CapAdd) > 0 || len(s.Devices) > 0 || s.Pid != "" || s.Ipc != "" || s.UserNSMode != "" || s.NetworkMode == "host" || s.UseAPISocket {
			t.Error("it has rights on the host")
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Error("it doesn't give up all capabilities and the way to new ones")
		}
		if !s.ReadOnly {
			t.Error("its root file system can be written")
		}
		user, group, _ := strings.Cut(s.User, ":")
		for _, id := range []string{user, group} {
			if !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(id) {
				t.Errorf("its user %q isn't a numeric one other than root, with a group", s.User)
			}
		}
		for _, volume := range s.Volumes {
			if strings.Contains(volume.Source, "docker.sock") {
				t.Error("it can reach the engine")
			}
			if volume.Type == types.VolumeTypeBind && (!volume.ReadOnly || volume.Bind == nil || bool(volume.Bind.CreateHostPath)) {
				t.Errorf("it can write %s, or makes it when it is missing", volume.Source)
			}
		}
	})
}

var (
	secretName  = regexp.MustCompile(`(?i)(passw|secret|token|key|credential|dsn|auth)`)
	secretValue = regexp.MustCompile(`(?i)(AKIA[A-Z2-7]{8}|whsec_|BEGIN [A-Z ]*PRIVATE KEY|eyJ[A-Za-z0-9_-]{10}|://[^/\s]*:[^/\s]*@)`)
)

// plainSecret says whether a setting is a secret itself, instead of naming a secret's file.
func plainSecret(name, value string) bool {
	if strings.HasPrefix(value, "/run/secrets/") || strings.HasPrefix(value, "/platform") {
		return false
	}
	return secretValue.MatchString(value) || value != "" && secretName.MatchString(name)
}

func TestNoSecretIsASetting(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, project *types.Project, s types.ServiceConfig) {
		if len(s.EnvFiles) > 0 {
			t.Error("it reads its environment from a file")
		}
		settings := map[string]string{}
		for name, value := range s.Environment {
			if value == nil {
				t.Errorf("%s comes from the environment of whoever starts it", name)
				continue
			}
			settings[name] = *value
		}
		for _, argument := range append(slices.Clone(s.Command), s.Entrypoint...) {
			name, value, _ := strings.Cut(argument, "=")
			settings[name] = value
		}
		if s.Build != nil {
			for name, value := range s.Build.Args {
				if value != nil {
					settings[name] = *value
				}
			}
		}
		for name, value := range settings {
			// --postgres-password-file and the like name a file, which must be a secret.
			if plainSecret(name, value) {
				t.Errorf("%s looks like a secret that is in the file itself", name)
			}
			if secret, ok := strings.CutPrefix(value, "/run/secrets/"); ok && !slices.ContainsFunc(s.Secrets, func(c types.ServiceSecretConfig) bool { return c.Source == secret }) {
				t.Errorf("%s names the secret %q, which it doesn't mount", name, secret)
			}
		}
	})
	for _, wrong := range [][2]string{{"POSTGRES_PASSWORD", "x"}, {"AWS_SECRET_ACCESS_KEY", "x"}, {"URL", "postgres://u:p@h/d"}, {"X", "whsec_abc"}} {
		if !plainSecret(wrong[0], wrong[1]) {
			t.Errorf("%s=%s passes for no secret", wrong[0], wrong[1])
		}
	}
}

// A secret that two services know can't tell them apart. One is known to both sides of
// a connection.
func TestASecretBelongsToOneService(t *testing.T) {
	t.Parallel()
	project := load(t)
	users := map[string][]string{}
	for name, service := range project.Services {
		for _, secret := range service.Secrets {
			users[secret.Source] = append(users[secret.Source], name)
		}
	}
	for name := range project.Secrets {
		slices.Sort(users[name])
		if name == "temporal-password" && slices.Equal(users[name], []string{"postgres", "temporal"}) {
			continue
		}
		if len(users[name]) != 1 {
			t.Errorf("the secret %s is known to %v", name, users[name])
		}
	}
}

func TestEveryDependencyIsWaitedForUntilItIsHealthy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, project *types.Project, s types.ServiceConfig) {
		for name, dependency := range s.DependsOn {
			if _, ok := project.Services[name]; !ok {
				t.Errorf("it depends on %q, which doesn't exist", name)
			}
			if dependency.Condition != types.ServiceConditionHealthy || !dependency.Required {
				t.Errorf("it doesn't wait until %s is healthy", name)
			}
		}
		if other, ok := strings.CutPrefix(s.NetworkMode, "service:"); ok {
			if dependency, waits := s.DependsOn[other]; !waits || !dependency.Restart {
				t.Errorf("it uses the network of %s and must wait for it and restart with it", other)
			}
		}
	})
}

func TestPortsAreOfThisMachineAlone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ *types.Project, s types.ServiceConfig) {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" || port.Published == "" {
				t.Errorf("port %d is published on %q:%q", port.Target, port.HostIP, port.Published)
			}
		}
	})
}

// A relay's route and a client's address must be a service that shares a network with it.
func TestEveryAddressIsAServiceInReach(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, project *types.Project, s types.ServiceConfig) {
		for _, argument := range s.Command {
			text := argument[strings.LastIndex(argument, "=")+1:]
			host, _, err := net.SplitHostPort(strings.TrimPrefix(text, "http://"))
			if err != nil || net.ParseIP(host) != nil {
				continue
			}
			other, ok := project.Services[host]
			if !ok {
				t.Errorf("%s: there is no service %q", argument, host)
				continue
			}
			shared := false
			for network := range s.Networks {
				_, both := other.Networks[network]
				shared = shared || both
			}
			if !shared {
				t.Errorf("%s: it shares no network with %s", argument, host)
			}
		}
	})
}

// Who shares a network, internal or not, can connect. These pairs must not.
func TestNetworksSeparate(t *testing.T) {
	t.Parallel()
	project := load(t)
	for _, pair := range [][2]string{
		{"starter-network", "kms"}, {"starter-network", "tsa"}, {"starter-network", "postgres"}, {"starter-network", "mailpit"},
		{"workers-network", "postgres"}, {"kms", "postgres"}, {"kms", "temporal"}, {"tsa", "kms"},
		{"temporal", "kms"}, {"temporal", "objectstore"}, {"mailpit", "temporal"}, {"mailpit", "objectstore"}, {"workers-network", "objectstore"}, {"starter-network", "objectstore"}, {"idp-hart", "postgres"},
	} {
		for network := range project.Services[pair[0]].Networks {
			if _, shared := project.Services[pair[1]].Networks[network]; shared {
				t.Errorf("%s and %s share the network %s", pair[0], pair[1], network)
			}
		}
	}
	for name, network := range project.Networks {
		if !network.Internal && !strings.HasPrefix(name, "edge-") {
			t.Errorf("the network %s leads outside", name)
		}
	}
	for name, service := range project.Services {
		edge := false
		for network := range service.Networks {
			edge = edge || strings.HasPrefix(network, "edge-")
		}
		if edge != (len(service.Ports) > 0) {
			t.Errorf("%s has an edge network without a published port, or the reverse", name)
		}
	}
}

func TestEveryPathExistsOrIsPrepared(t *testing.T) {
	t.Parallel()
	project := load(t)
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{}
	for name, secret := range project.Secrets {
		wanted["secret "+name] = secret.File
	}
	for name, config := range project.Configs {
		wanted["config "+name] = config.File
	}
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				wanted["volume of "+name] = volume.Source
			}
		}
	}
	mounted := map[string]bool{}
	for what, path := range wanted {
		relative, err := filepath.Rel(absolute, path)
		if err != nil || !filepath.IsLocal(relative) {
			t.Errorf("%s: %s is outside of the repository", what, path)
			continue
		}
		if inside, ok := strings.CutPrefix(filepath.ToSlash(relative), "var/compose/"); ok {
			mounted[inside] = true
			if !slices.ContainsFunc(prepared.Files, func(file string) bool { return file == inside || strings.HasPrefix(file, inside+"/") }) {
				t.Errorf("%s: %s is nothing that is prepared", what, inside)
			}
		} else if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, file := range prepared.Files {
		if strings.HasPrefix(file, "secrets/") && !mounted[file] {
			t.Errorf("%s is prepared, and nobody mounts it", file)
		}
	}
}
