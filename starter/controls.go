package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/starter/controls"
)

func (c *cli) controlsCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "controls",
		Short: "Which control is enforced by what, and which tests prove it",
		Long: `Print the table of controls: what each demands, what enforces it, the requirements that serve it, the tests that prove them, and how those
ended when they last ran.

The tests are those of the source that this command was built from. Their results come from what go test -json wrote (--results); without
it they are not run.`,
		Example: `  countersign controls
  go test -json ./... > results.json; countersign controls --results results.json --json`,
		Args: cobra.NoArgs,
		RunE: c.run(func(_ context.Context, _ []string) error {
			results := controls.Results{}
			for _, file := range files {
				if err := readResults(results, file); err != nil {
					return fmt.Errorf("couldn't read the results in %s: %w", file, err)
				}
			}
			tests, err := controls.Tests()
			if err != nil {
				return err
			}
			table := controls.Table(tests, results)
			if c.json {
				return json.NewEncoder(c.out).Encode(map[string]any{"controls": table})
			}
			return controls.WriteText(c.out, table)
		}),
	}
	cmd.Flags().StringArrayVar(&files, "results", nil, "file that go test -json wrote; repeatable")
	return cmd
}

func readResults(results controls.Results, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return results.Read(f)
}
