// Code generated via abigen V2 - DO NOT EDIT.
// This file is a generated binding and any manual changes will be lost.

package anchors

import (
	"bytes"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/accounts/abi/bind/v2"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Reference imports to suppress errors if they are not otherwise used.
var (
	_ = bytes.Equal
	_ = errors.New
	_ = big.NewInt
	_ = common.Big1
	_ = types.BloomLookup
	_ = abi.ConvertType
)

// AnchorsMetaData contains all meta data concerning the Anchors contract.
var AnchorsMetaData = bind.MetaData{
	ABI: "[{\"inputs\":[],\"name\":\"NothingToAnchor\",\"type\":\"error\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"root\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint64\",\"name\":\"count\",\"type\":\"uint64\"}],\"name\":\"Anchored\",\"type\":\"event\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"root\",\"type\":\"bytes32\"},{\"internalType\":\"uint64\",\"name\":\"count\",\"type\":\"uint64\"}],\"name\":\"anchor\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"}]",
	ID:  "Anchors",
	Bin: "0x6080604052348015600e575f5ffd5b5060f88061001b5f395ff3fe6080604052348015600e575f5ffd5b50600436106026575f3560e01c8063db2c4aca14602a575b5f5ffd5b6039603536600460c0565b603b565b005b5f8167ffffffffffffffff1611607d576040517f6dcb6ea000000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b60405167ffffffffffffffff8216815282907f41c3f410f5c8ac36bb46b1dccef0de0f964087c9e688795fa02ecfa2c20b3fe49060200160405180910390a25050565b5f5f6040838503121560d0575f5ffd5b82359150602083013567ffffffffffffffff8116811460ed575f5ffd5b80915050925092905056",
}

// Anchors is an auto generated Go binding around an Ethereum contract.
type Anchors struct {
	abi abi.ABI
}

// GetABI returns the ABI associated with this contract binding.
func (c *Anchors) GetABI() abi.ABI {
	return c.abi
}

// NewAnchors creates a new instance of Anchors.
func NewAnchors() *Anchors {
	parsed, err := AnchorsMetaData.ParseABI()
	if err != nil {
		panic(errors.New("invalid ABI: " + err.Error()))
	}
	return &Anchors{abi: *parsed}
}

// Instance creates a wrapper for a deployed contract instance at the given address.
// Use this to create the instance object passed to abigen v2 library functions Call, Transact, etc.
func (c *Anchors) Instance(backend bind.ContractBackend, addr common.Address) *bind.BoundContract {
	return bind.NewBoundContract(addr, c.abi, backend, backend, backend)
}

// PackAnchor is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xdb2c4aca.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function anchor(bytes32 root, uint64 count) returns()
func (anchors *Anchors) PackAnchor(root [32]byte, count uint64) []byte {
	enc, err := anchors.abi.Pack("anchor", root, count)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackAnchor is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xdb2c4aca.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function anchor(bytes32 root, uint64 count) returns()
func (anchors *Anchors) TryPackAnchor(root [32]byte, count uint64) ([]byte, error) {
	return anchors.abi.Pack("anchor", root, count)
}

// AnchorsAnchored represents a Anchored event raised by the Anchors contract.
type AnchorsAnchored struct {
	Root  [32]byte
	Count uint64
	Raw   *types.Log // Blockchain specific contextual infos
}

const AnchorsAnchoredEventName = "Anchored"

// ContractEventName returns the user-defined event name.
func (AnchorsAnchored) ContractEventName() string {
	return AnchorsAnchoredEventName
}

// UnpackAnchoredEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Anchored(bytes32 indexed root, uint64 count)
func (anchors *Anchors) UnpackAnchoredEvent(log *types.Log) (*AnchorsAnchored, error) {
	event := "Anchored"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != anchors.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(AnchorsAnchored)
	if len(log.Data) > 0 {
		if err := anchors.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range anchors.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// UnpackError attempts to decode the provided error data using user-defined
// error definitions.
func (anchors *Anchors) UnpackError(raw []byte) (any, error) {
	if bytes.Equal(raw[:4], anchors.abi.Errors["NothingToAnchor"].ID.Bytes()[:4]) {
		return anchors.UnpackNothingToAnchorError(raw[4:])
	}
	return nil, errors.New("Unknown error")
}

// AnchorsNothingToAnchor represents a NothingToAnchor error raised by the Anchors contract.
type AnchorsNothingToAnchor struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NothingToAnchor()
func AnchorsNothingToAnchorErrorID() common.Hash {
	return common.HexToHash("0x6dcb6ea020d51e27cc940caf0ef67635de37034b8520b4ad4b1390a3db7d3ef3")
}

// UnpackNothingToAnchorError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NothingToAnchor()
func (anchors *Anchors) UnpackNothingToAnchorError(raw []byte) (*AnchorsNothingToAnchor, error) {
	out := new(AnchorsNothingToAnchor)
	if err := anchors.abi.UnpackIntoInterface(out, "NothingToAnchor", raw); err != nil {
		return nil, err
	}
	return out, nil
}
