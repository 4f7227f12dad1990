package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign-dev/countersign"
)

// smallDisk is a disk of a worker's own, for its temporary files, that can be filled and emptied while it runs.
type smallDisk struct{ dir string }

const smallDiskBytes = 8 << 20

// workersOnASmallDisk starts workers of globex whose temporary files lie on a disk of their own (tmpfs in a mount namespace).
func workersOnASmallDisk(t *testing.T) smallDisk {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).CombinedOutput(); err != nil {
		t.Skipf("this system lets nobody mount a disk of their own: %v: %s", err, out)
	}
	settings, err := local.Tenant(t.TempDir(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	disk, pid, script := filepath.Join(own, "disk"), filepath.Join(own, "pid"), filepath.Join(own, "workers")
	text := fmt.Sprintf(`#!/bin/sh
exec unshare --user --map-root-user --mount sh -ec 'mount -t tmpfs -o size=%d tmpfs %s; echo $$ >%s; TMPDIR=%s exec %s "$@"' workers "$@"
`, smallDiskBytes, disk, pid, disk, filepath.Join(local.Bin, "workers"))
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := local.Workers(script, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	id, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	return smallDisk{filepath.Join("/proc", strings.TrimSpace(string(id)), "root", disk)}
}

func (d smallDisk) free(t *testing.T) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// leave fills the disk but for so many bytes.
func (d smallDisk) leave(t *testing.T, room int64) {
	t.Helper()
	d.empty(t)
	if err := os.WriteFile(filepath.Join(d.dir, "ballast"), make([]byte, d.free(t)-room), 0o600); err != nil {
		t.Fatal(err)
	}
	if left := d.free(t); left > room {
		t.Fatalf("%d bytes are free, want %d", left, room)
	}
}

func (d smallDisk) empty(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

// Where there is no room for temporary files, whatever step needs them waits and says why, nothing is half stored, and it goes on by itself once there is room.
func TestR25_AFullDiskHoldsASigningUpAndSpoilsNothing(t *testing.T) {
	disk := workersOnASmallDisk(t)
	c, err := local.Dial(t.Context(), "globex", "platform:operator/globex")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	// held waits until an activity of a workflow is tried again for want of room.
	held := func(workflow, activity string) {
		t.Helper()
		var pending []string
		defer func() {
			if t.Failed() {
				t.Logf("%s has pending: %q", workflow, pending)
			}
		}()
		eventually(t, activity+" says that the disk is full", func() bool {
			d, err := c.DescribeWorkflowExecution(t.Context(), workflow, "")
			if err != nil {
				return false // it is not there yet
			}
			pending = nil
			for _, p := range d.GetPendingActivities() {
				told := p.GetLastFailure().GetMessage()
				pending = append(pending, p.GetActivityType().GetName()+": "+told)
				if p.GetActivityType().GetName() == activity && strings.Contains(told, "TMPDIR") && strings.Contains(told, syscall.ENOSPC.Error()) {
					return true
				}
			}
			return false
		})
	}
	r := request(t, "globex", "supplier-contract")
	saga, custodian := countersign.SagaID("globex", r.ID), countersign.CustodianID("globex", r.ID)

	disk.leave(t, 0)
	g := begin(t, r)
	held(saga, "Admit")
	disk.empty(t)
	decide(t, g, "globex/gina", "legal", countersign.Approve)

	disk.leave(t, 0)
	decide(t, g, "hart/chris", "counsel", countersign.Approve)
	held(saga, "Sign")
	evidenceKey := countersign.EvidenceKey("globex", r.ID)
	if there := versions(t, local.S3.Evidence, evidenceKey); len(there) != 0 {
		t.Errorf("before it is signed its evidence has %d versions", len(there))
	}

	// Room for the signed PDF, and not for a bundle: it runs out while that is written.
	disk.leave(t, 192<<10)
	held(custodian, "Seal")
	if there := versions(t, local.S3.Evidence, evidenceKey); len(there) != 0 {
		t.Errorf("before it is sealed its evidence has %d versions", len(there))
	}
	disk.empty(t)
	ended(t, g, countersign.Completed)
	if there := versions(t, local.S3.Evidence, evidenceKey); len(there) != 1 {
		t.Errorf("its evidence has %d versions, want one", len(there))
	}
	if left, err := os.ReadDir(disk.dir); err != nil || len(left) != 0 {
		t.Errorf("on the disk are %v, %v", left, err)
	}
	eventually(t, "the disk is as empty as it was", func() bool { return disk.free(t) == smallDiskBytes })
}
