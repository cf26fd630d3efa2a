package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/souk-market/souk"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
)

func newAdd(a *app) *cobra.Command {
	var publish bool
	cmd := &cobra.Command{
		Use:   "add PATH",
		Short: "Add a file or folder to the content-addressed store",
		Long: `Adds a file or folder to the store and prints its content id. Nobody else can
fetch it, but for providers of leases that name it; --publish lets anyone.`,
		Example: "  souk add ./data\n  souk add --publish model.bin",
		Args:    exactly("PATH"),
		RunE: body(func(ctx context.Context, args []string) error {
			path, err := existing(args[0])
			if err != nil {
				return err
			}
			res, err := a.daemon.Files.Add(ctx, &apiv1.AddRequest{Path: path, Publish: publish})
			if err != nil {
				return err
			}
			return a.show(res, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, res.Cid)
				return err
			})
		}),
	}
	cmd.Flags().BoolVar(&publish, "publish", false, "let anyone fetch it")
	return cmd
}

// existing is the absolute path of something that is there.
func existing(path string) (string, error) {
	if path == "" {
		return "", usagef("PATH is empty: name a file or a folder")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("path %s: %w", path, err)
	}
	if _, err := os.Lstat(abs); err != nil {
		return "", usagef("%w", plainPath(err))
	}
	return abs, nil
}

// fresh is the absolute path of something that is not there, or of an empty folder.
func fresh(path string) (string, error) {
	if path == "" {
		return "", usagef("DIR is empty: name a folder that is not there yet")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("path %s: %w", path, err)
	}
	switch entries, err := os.ReadDir(abs); {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(entries) == 0:
		return abs, nil
	case err == nil:
		return "", usagef("%s is there and not empty: nothing is overwritten; name another folder", path)
	}
	return "", usagef("%s is there: nothing is overwritten; name another folder", path)
}

func newCat(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cat CID",
		Short: "Print a file of the store",
		Long: `Prints one file of the store. A path below a folder's id names a file in it. With
--json the file is one JSON object, with its bytes as text.`,
		Example: "  souk cat bafybei…/metrics.json",
		Args:    exactly("CID"),
		RunE: body(func(ctx context.Context, args []string) error {
			root, _, _ := strings.Cut(strings.TrimPrefix(args[0], "/ipfs/"), "/")
			if _, err := cid.Decode(root); err != nil {
				return usagef("%q is not a content id, such as bafybei…", root)
			}
			if !a.json {
				return a.cat(ctx, args[0], a.stdout)
			}
			var text strings.Builder
			if err := a.cat(ctx, args[0], &text); err != nil {
				return err
			}
			return a.line(map[string]string{"cid": args[0], "text": text.String()})
		}),
	}
}

func (a *app) cat(ctx context.Context, name string, w io.Writer) error {
	stream, err := a.daemon.Files.Cat(ctx, &apiv1.CatRequest{Cid: name})
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if _, err := w.Write(stream.Msg().Data); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return stream.Err()
}

func newGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "get ID|CID [DIR]",
		Short: "Write a job's outputs, or content of the store, to a folder",
		Long: `Writes the outputs of a job to DIR, each under its own name, or what a content id
names to DIR itself. DIR must not exist, or be empty. Without it a job's outputs go
to a folder named by the beginning of its id.`,
		Example: "  souk get 7f3a ./result\n  souk get bafybei… ./data",
		Args:    exactly("ID", "[DIR]"),
		RunE:    body(a.get),
	}
}

func (a *app) get(ctx context.Context, args []string) error {
	_, notContent := cid.Decode(args[0])
	if len(args) == 1 && notContent == nil {
		return usagef("DIR is missing: where should %s go?", args[0])
	}
	if notContent != nil && !isJobID(args[0]) {
		return usagef("%q is neither a job's id, such as 7f3a, nor a content id, such as bafybei…", args[0])
	}
	dir, err := fresh(append(args, short(args[0]))[1])
	if err != nil {
		return err
	}
	if notContent == nil {
		res, err := a.daemon.Files.Save(ctx, &apiv1.SaveRequest{Cid: args[0], Path: dir})
		if err != nil {
			return err
		}
		return a.show(res, func(io.Writer) error {
			a.say("%s: %d files, %s", dir, res.Files, souk.FormatSize(res.SizeBytes))
			return nil
		})
	}
	job, err := a.daemon.Jobs.Get(ctx, &apiv1.GetRequest{Id: args[0]})
	if err != nil {
		return err
	}
	outputs := job.Summary.GetOutputs()
	if len(outputs) == 0 {
		return fmt.Errorf("job %s is %s and has no outputs here", short(job.Summary.GetJob()), job.Summary.GetState())
	}
	saved := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		path := dir
		if len(outputs) > 1 {
			path = filepath.Join(dir, filepath.FromSlash(strings.Trim(name, "/")))
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if _, err := a.daemon.Files.Save(ctx, &apiv1.SaveRequest{Cid: outputs[name], Path: path}); err != nil {
			return err
		}
		saved[name] = path
		a.say("%s: %s", name, path)
	}
	if a.json {
		return a.line(map[string]any{"job": job.Summary.GetJob(), "saved": saved})
	}
	return nil
}
