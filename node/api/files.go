package api

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/souk-market/souk/storage/files"
)

// filesService answers souk.api.v1.Files.
type filesService struct {
	add  fileAdder
	read fileReader
}

// fileAdder puts files into the store.
type fileAdder interface {
	Add(ctx context.Context, path string) (cid string, bytes uint64, err error)
	AddTree(ctx context.Context, entries []files.Entry) (cid string, bytes uint64, err error)
	Publish(ctx context.Context, cid string) error
}

// fileReader takes files out of the store.
type fileReader interface {
	Save(ctx context.Context, cid, path string) (bytes uint64, files int, err error)
	Cat(ctx context.Context, cid string, w io.Writer) error
}

// Add puts a file or folder of this machine into the store.
func (s *filesService) Add(ctx context.Context, req *apiv1.AddRequest) (out *apiv1.AddResponse, err error) {
	out = &apiv1.AddResponse{}
	switch {
	case (req.Path == "") == (len(req.Entries) == 0):
		return nil, invalid("give either a path or entries")
	case req.Path != "":
		if !filepath.IsAbs(req.Path) {
			return nil, invalid("path %s is not absolute", req.Path)
		}
		out.Cid, out.SizeBytes, err = s.add.Add(ctx, req.Path)
	default:
		entries := make([]files.Entry, len(req.Entries))
		for i, e := range req.Entries {
			entries[i] = files.Entry{Path: e.From, Name: e.Name}
			if !filepath.IsAbs(e.From) {
				entries[i].Path, entries[i].CID = "", e.From
			}
		}
		out.Cid, out.SizeBytes, err = s.add.AddTree(ctx, entries)
	}
	if err == nil && req.Publish {
		err = s.add.Publish(ctx, out.Cid)
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return out, nil
}

// Save writes what a CID names to a path of this machine.
func (s *filesService) Save(ctx context.Context, req *apiv1.SaveRequest) (*apiv1.SaveResponse, error) {
	if !filepath.IsAbs(req.Path) {
		return nil, invalid("path %s is not absolute", req.Path)
	}
	bytes, count, err := s.read.Save(ctx, req.Cid, req.Path)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return &apiv1.SaveResponse{SizeBytes: bytes, Files: uint32(count)}, nil
}

// Cat streams one file.
func (s *filesService) Cat(ctx context.Context, req *apiv1.CatRequest, out *connect.ServerStream[apiv1.CatResponse]) error {
	err := s.read.Cat(ctx, strings.TrimPrefix(req.Cid, "/ipfs/"), catWriter{out})
	if err != nil {
		return connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return nil
}

// catWriter sends what is written in pieces that fit a message.
type catWriter struct {
	s *connect.ServerStream[apiv1.CatResponse]
}

func (w catWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		piece := b[:min(len(b), 1<<20)]
		if err := w.s.Send(&apiv1.CatResponse{Data: piece}); err != nil {
			return n, err
		}
		n, b = n+len(piece), b[len(piece):]
	}
	return n, nil
}
