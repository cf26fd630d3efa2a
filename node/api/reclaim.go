package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/client"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// maxNoticeMs is the longest notice that an owner can give, an hour.
const maxNoticeMs = 60 * 60 * 1000

// Reclaim takes a device back for its owner, or gives it to the market again.
func (s *nodeService) Reclaim(_ context.Context, req *apiv1.ReclaimRequest) (*apiv1.ReclaimResponse, error) {
	if s.seller == nil {
		return nil, coded(&souk.Error{Code: souk.CodeState, Err: errors.New("this node sells nothing"), Fix: "a device that is not sold is yours"})
	}
	if req.NoticeMs > maxNoticeMs {
		return nil, invalid("a notice is at most an hour")
	}
	device, err := s.deviceNamed(req.Device)
	if err != nil {
		return nil, coded(err)
	}
	out := &apiv1.ReclaimResponse{Device: device}
	if req.Release {
		return out, coded(s.seller.Return(device))
	}
	got, err := s.seller.Reclaim(device, time.Duration(req.NoticeMs)*time.Millisecond, req.Force)
	if err != nil {
		return nil, coded(err)
	}
	if !got.Ends.IsZero() {
		out.Lease, out.Ends = got.Lease.String(), client.Stamp(got.Ends)
	}
	return out, nil
}

// deviceNamed is the whole id of the one device whose id begins so.
func (s *nodeService) deviceNamed(prefix string) (string, error) {
	var found []string
	for _, d := range s.devices.List() {
		if d.ID == prefix {
			return prefix, nil
		}
		if prefix != "" && strings.HasPrefix(d.ID, prefix) {
			found = append(found, d.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", &souk.Error{Code: souk.CodeNotFound, Err: fmt.Errorf("no device %q is on this machine", prefix), Fix: "souk gpus lists them"}
	}
	return "", &souk.Error{Code: souk.CodeInvalid, Err: fmt.Errorf("%q begins %d devices: %s", prefix, len(found), strings.Join(found, ", ")), Fix: "give more of the id"}
}
