package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// stack is what a running devstack tells about itself: DIR/stack.json and --json.
// It contains passwords.
type stack struct {
	Data      string                `json:"data"`
	Temporal  temporalInfo          `json:"temporal"`
	S3        s3Info                `json:"s3"`
	KMS       kmsInfo               `json:"kms"`
	AWS       awsInfo               `json:"aws"`
	TSA       tsaInfo               `json:"tsa"`
	SecondTSA tsaInfo               `json:"secondTSA"`
	Mail      mailInfo              `json:"mail"`
	TenantCA  string                `json:"tenantCA"`
	Tenants   map[string]tenantInfo `json:"tenants"`
	Platform  string                `json:"platform"`
	Issuers   map[string]issuerInfo `json:"issuers"`
	People    []personInfo          `json:"people"`
	Machines  []machineInfo         `json:"machines"`
}

type (
	temporalInfo struct {
		Address string `json:"address"`
		UI      string `json:"ui"`
	}
	s3Info struct {
		Endpoint string `json:"endpoint"`
		// Store is the gateway behind the AWS policies, for tests that must get past them.
		Store     string `json:"store"`
		Region    string `json:"region"`
		Documents string `json:"documents"`
		Evidence  string `json:"evidence"`
	}
	kmsInfo struct {
		Endpoint string `json:"endpoint"`
		Region   string `json:"region"`
	}
	awsInfo struct {
		CredentialsFile string `json:"credentialsFile"`
		AdminProfile    string `json:"adminProfile"`
	}
	tsaInfo struct {
		URL string `json:"url"`
		CA  string `json:"ca"`
	}
	mailInfo struct {
		SMTP string `json:"smtp"`
		Page string `json:"page"`
	}
	tenantInfo struct {
		File      string `json:"file"`
		Namespace string `json:"namespace"`
		KeyARN    string `json:"keyArn"`
		LogKeyARN string `json:"logKeyArn"`
		// LogPublicKey is what whoever watches the log is given.
		LogPublicKey string `json:"logPublicKey"`
		// PostQuantumPublicKey is the file that whoever verifies evidence is given; empty where the tenant has no such key.
		PostQuantumPublicKey string `json:"postQuantumPublicKey,omitempty"`
	}
	issuerInfo struct {
		URL            string `json:"url"`
		Client         string `json:"client"`
		EvidenceClient string `json:"evidenceClient"`
	}
	personInfo struct {
		Issuer   string `json:"issuer"`
		Login    string `json:"login"`
		Subject  string `json:"subject"`
		Name     string `json:"name"`
		Email    string `json:"email"`
		Password string `json:"password"`
		Disabled bool   `json:"disabled"`
	}
	machineInfo struct {
		Issuer  string `json:"issuer"`
		Client  string `json:"client"`
		KeyFile string `json:"keyFile"`
	}
)

func stackFile(dir string) string { return filepath.Join(dir, "stack.json") }

// readStack reads what the last start wrote.
func readStack(dir string) (*stack, error) {
	text, err := os.ReadFile(stackFile(dir))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the stack's description; start the devstack on %s first: %w", dir, err)
	}
	var s stack
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", stackFile(dir), err)
	}
	return &s, nil
}
