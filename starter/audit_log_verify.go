package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/translog"
)

func (c *cli) logVerifyCommand() *cobra.Command {
	var key, bundles string
	var older time.Duration
	cmd := &cobra.Command{
		Use:   "verify DIR --log-key TEXT",
		Short: "Read the whole log and hold it to its signed checkpoint",
		Long: `Read the whole log, every entry and every tile, and hold it to the root that its key signed. An intent to sign that no ending follows is told;
where it is older than --older, the exit code is 6, as for a log that does not hold. Whether the checkpoint is the newest one, watch says.

With --evidence, a copy of TENANT/evidence/ made after that of the log, each ending must have its bundle there with the digest that the entry names, and each
bundle must have an entry. What is missing, changed or not logged is named, and the exit code is 6.`,
		Args: cobra.ExactArgs(1),
		RunE: c.run(func(ctx context.Context, args []string) error {
			reader, err := logReader(args[0], key)
			if err != nil {
				return err
			}
			audit, err := reader.Audit(ctx)
			if err != nil {
				return &coded{exitUnproven, "log-broken", fmt.Errorf("the log does not hold: %w", err)}
			}
			v := verifiedLog{audit: audit, late: audit.Overdue(time.Now().Add(-older)), older: older}
			if bundles != "" {
				tenant, err := translog.TenantOf(key)
				if err != nil {
					return usage("--log-key: %w", err)
				}
				there, err := bundlesIn(bundles, tenant)
				if err != nil {
					return err
				}
				compared := audit.Compare(there)
				v.compared = &compared
			}
			if err := c.answer(v.answer(), v.print); err != nil {
				return err
			}
			return v.fault()
		}),
	}
	logKeyFlag(cmd, &key)
	cmd.Flags().DurationVar(&older, "older", 24*time.Hour, "how old an intent may be before its ending is missed")
	cmd.Flags().StringVar(&bundles, "evidence", "", "copy of TENANT/evidence/ to compare with the log")
	return cmd
}

// verifiedLog is a log that holds, and what it says that somebody has to look at.
type verifiedLog struct {
	audit    *translog.Audit
	late     []translog.Entry
	older    time.Duration
	compared *translog.Differences
}

func (v verifiedLog) answer() map[string]any {
	answer := map[string]any{
		"verified": v.fault() == nil, "entries": v.audit.Entries, "root": v.audit.Checkpoint.Hash, "checkpoint": v.audit.Checkpoint.Text, "open": len(v.audit.Open), "overdue": v.late,
	}
	if d := v.compared; d != nil {
		answer["missing"], answer["changed"], answer["unlogged"], answer["later"] = d.Missing, d.Changed, d.Unlogged, d.Later
	}
	return answer
}

func (v verifiedLog) print(w io.Writer) {
	fmt.Fprintf(w, "entries\t%d\nroot\t%s\nopen\t%d\n", v.audit.Entries, v.audit.Checkpoint.Hash, len(v.audit.Open))
	for _, e := range v.late {
		fmt.Fprintf(w, "overdue\t%s\tintended %s, and nothing says how it ended\n", line(e.Request), e.At.Format(time.RFC3339))
	}
	if v.compared == nil {
		return
	}
	fmt.Fprintf(w, "bundles\t%d\n", len(v.audit.Endings)-len(v.compared.Missing)-len(v.compared.Changed))
	for _, e := range v.compared.Missing {
		fmt.Fprintf(w, "missing\t%s\tits evidence %s is not there\n", line(e.Request), line(e.Bundle.Key))
	}
	for _, e := range v.compared.Changed {
		fmt.Fprintf(w, "changed\t%s\tin the place of its evidence %s lie other bytes\n", line(e.Request), line(e.Bundle.Key))
	}
	for _, key := range v.compared.Unlogged {
		fmt.Fprintf(w, "unlogged\t%s\tno entry names this bundle\n", line(key))
	}
	for _, key := range v.compared.Later {
		fmt.Fprintf(w, "later\t%s\tit may have been locked just before it is logged; the next copy of the log has to have it\n", line(key))
	}
}

func (v verifiedLog) fault() error {
	if d := v.compared; d != nil && !d.Hold() {
		return &coded{exitUnproven, "evidence-differs", fmt.Errorf("the log and the evidence differ: %d bundles are missing, %d are changed, %d are not logged", len(d.Missing), len(d.Changed), len(d.Unlogged))}
	}
	if len(v.late) > 0 {
		return &coded{exitUnproven, "intent-without-ending", fmt.Errorf("%d intents to sign are older than %s, and the log says of none how it ended: the key may have signed what no evidence tells of", len(v.late), v.older)}
	}
	return nil
}

// isRenewal says whether a file of a copy lies where an evidence record does.
func isRenewal(file string) bool {
	for _, pattern := range []string{"renewal-[0-9][0-9][0-9].ers", "stored-[0-9][0-9][0-9].ers"} {
		if is, err := filepath.Match(pattern, filepath.Base(file)); err == nil && is {
			return true
		}
	}
	return false
}

// bundlesIn are the bundles of a copy of a tenant's evidence, by their keys in the bucket. The proofs and evidence records beside them are no bundles: a
// changed one of these doesn't hold by itself.
func bundlesIn(dir, tenant string) (map[string]translog.Bundle, error) {
	there := map[string]translog.Bundle{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(file, proofSuffix) || isRenewal(file) {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		body, err := readBounded(file, evidence.MaxBundleSize)
		if err != nil {
			return err
		}
		there[tenant+"/evidence/"+filepath.ToSlash(name)] = translog.Bundle{SHA256: countersign.SHA256(body), Modified: info.ModTime()}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the copy of the evidence: %w", err)
	}
	return there, nil
}
