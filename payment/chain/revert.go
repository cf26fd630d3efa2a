package chain

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/souk-market/souk/payment/chain/contracts/anchors"
	"github.com/souk-market/souk/payment/chain/contracts/collector"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
	"github.com/souk-market/souk/payment/chain/contracts/testtoken"
)

// RevertError says that a contract refused.
type RevertError struct {
	Name string // the contract's error, "ClaimExceedsBalance"; "" if it gave none we know
	Text string // the same with its arguments, or the reason given as text
	Data []byte // as the contract gave it
}

func (e *RevertError) Error() string {
	if e.Text == "" {
		return "reverted"
	}
	return "reverted: " + e.Text
}

// Is makes the revert of a used authorization an [ErrUsed].
func (e *RevertError) Is(target error) bool {
	return target == ErrUsed && e.Name == "AuthorizationSpent"
}

// contractErrors are the errors that our contracts define, by selector.
var contractErrors = sync.OnceValue(func() map[[4]byte]abi.Error {
	all := make(map[[4]byte]abi.Error)
	for _, a := range []abi.ABI{
		settlement.NewSettlement().GetABI(),
		collector.NewERC3009DepositCollector().GetABI(),
		testtoken.NewTestToken().GetABI(),
		anchors.NewAnchors().GetABI(),
	} {
		for _, e := range a.Errors {
			all[[4]byte(e.ID[:4])] = e
		}
	}
	return all
})

// revert turns a node's "execution reverted" into a [RevertError] and leaves
// every other error, nil included, as it is.
func revert(err error) error {
	e, ok := errors.AsType[rpc.DataError](err)
	if !ok {
		return err
	}
	text, ok := e.ErrorData().(string)
	if !ok {
		if strings.Contains(e.Error(), "execution reverted") {
			return &RevertError{}
		}
		return err
	}
	data, decodeErr := hexutil.Decode(text)
	if decodeErr != nil {
		return err
	}
	return decodeRevert(data)
}

func decodeRevert(data []byte) *RevertError {
	r := &RevertError{Data: bytes.Clone(data)}
	if len(data) < 4 {
		return r
	}
	if reason, err := abi.UnpackRevert(data); err == nil {
		r.Text = reason
		return r
	}
	e, ok := contractErrors()[[4]byte(data[:4])]
	if !ok {
		r.Text = fmt.Sprintf("unknown error %x", data[:4])
		return r
	}
	r.Name, r.Text = e.Name, e.Name+"()"
	if args, err := e.Inputs.Unpack(data[4:]); err == nil {
		parts := make([]string, len(args))
		for i, a := range args {
			if b, ok := a.([32]byte); ok {
				a = hexutil.Encode(b[:])
			}
			parts[i] = fmt.Sprint(a)
		}
		r.Text = e.Name + "(" + strings.Join(parts, ", ") + ")"
	}
	return r
}
