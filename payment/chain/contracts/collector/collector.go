// Code generated via abigen V2 - DO NOT EDIT.
// This file is a generated binding and any manual changes will be lost.

package collector

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

// ERC3009DepositCollectorMetaData contains all meta data concerning the ERC3009DepositCollector contract.
var ERC3009DepositCollectorMetaData = bind.MetaData{
	ABI: "[{\"inputs\":[{\"internalType\":\"address\",\"name\":\"settlement\",\"type\":\"address\"}],\"stateMutability\":\"nonpayable\",\"type\":\"constructor\"},{\"inputs\":[],\"name\":\"OnlySettlement\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"}],\"name\":\"SafeERC20FailedOperation\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"SETTLEMENT\",\"outputs\":[{\"internalType\":\"address\",\"name\":\"\",\"type\":\"address\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint256\",\"name\":\"amount\",\"type\":\"uint256\"},{\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"internalType\":\"bytes\",\"name\":\"data\",\"type\":\"bytes\"}],\"name\":\"collect\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"}]",
	ID:  "ERC3009DepositCollector",
	Bin: "0x60a0604052348015600e575f5ffd5b50604051610675380380610675833981016040819052602b91603b565b6001600160a01b03166080526066565b5f60208284031215604a575f5ffd5b81516001600160a01b0381168114605f575f5ffd5b9392505050565b6080516105eb61008a5f395f818160520152818160b5015261021f01526105eb5ff3fe608060405234801561000f575f5ffd5b5060043610610034575f3560e01c8063e416d8d314610038578063ef0fe2451461004d575b5f5ffd5b61004b610046366004610365565b61009d565b005b6100747f000000000000000000000000000000000000000000000000000000000000000081565b60405173ffffffffffffffffffffffffffffffffffffffff909116815260200160405180910390f35b3373ffffffffffffffffffffffffffffffffffffffff7f0000000000000000000000000000000000000000000000000000000000000000161461010c576040517f15b3197600000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b5f80808061011c85870187610433565b93509350935093505f8783604051602001610141929190918252602082015260400190565b604080517fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe08184030181529082905280516020909101207f88b7ab63000000000000000000000000000000000000000000000000000000008252915073ffffffffffffffffffffffffffffffffffffffff8b16906388b7ab63906101d5908e9030908e908b908b9089908b9060040161053f565b5f604051808303815f87803b1580156101ec575f5ffd5b505af11580156101fe573d5f5f3e3d5ffd5b506102449250505073ffffffffffffffffffffffffffffffffffffffff8b167f00000000000000000000000000000000000000000000000000000000000000008b610251565b5050505050505050505050565b61025e83838360016102b5565b6102b0576040517f5274afe700000000000000000000000000000000000000000000000000000000815273ffffffffffffffffffffffffffffffffffffffff8416600482015260240160405180910390fd5b505050565b6040517fa9059cbb000000000000000000000000000000000000000000000000000000005f81815273ffffffffffffffffffffffffffffffffffffffff8616600452602485905291602083604481808b5af1925060015f51148316610331578383151615610325573d5f823e3d81fd5b5f873b113d1516831692505b60405250949350505050565b803573ffffffffffffffffffffffffffffffffffffffff81168114610360575f5ffd5b919050565b5f5f5f5f5f5f60a0878903121561037a575f5ffd5b6103838761033d565b95506103916020880161033d565b94506040870135935060608701359250608087013567ffffffffffffffff8111156103ba575f5ffd5b8701601f810189136103ca575f5ffd5b803567ffffffffffffffff8111156103e0575f5ffd5b8960208284010111156103f1575f5ffd5b60208201935080925050509295509295509295565b7f4e487b71000000000000000000000000000000000000000000000000000000005f52604160045260245ffd5b5f5f5f5f60808587031215610446575f5ffd5b843593506020850135925060408501359150606085013567ffffffffffffffff811115610471575f5ffd5b8501601f81018713610481575f5ffd5b803567ffffffffffffffff81111561049b5761049b610406565b6040517fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0603f7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0601f8501160116810181811067ffffffffffffffff8211171561050757610507610406565b60405281815282820160200189101561051e575f5ffd5b816020840160208301375f6020838301015280935050505092959194509250565b73ffffffffffffffffffffffffffffffffffffffff8816815273ffffffffffffffffffffffffffffffffffffffff871660208201528560408201528460608201528360808201528260a082015260e060c08201525f82518060e0840152806020850161010085015e5f61010082850101526101007fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0601f8301168401019150509897505050505050505056",
}

// ERC3009DepositCollector is an auto generated Go binding around an Ethereum contract.
type ERC3009DepositCollector struct {
	abi abi.ABI
}

// GetABI returns the ABI associated with this contract binding.
func (c *ERC3009DepositCollector) GetABI() abi.ABI {
	return c.abi
}

// NewERC3009DepositCollector creates a new instance of ERC3009DepositCollector.
func NewERC3009DepositCollector() *ERC3009DepositCollector {
	parsed, err := ERC3009DepositCollectorMetaData.ParseABI()
	if err != nil {
		panic(errors.New("invalid ABI: " + err.Error()))
	}
	return &ERC3009DepositCollector{abi: *parsed}
}

// Instance creates a wrapper for a deployed contract instance at the given address.
// Use this to create the instance object passed to abigen v2 library functions Call, Transact, etc.
func (c *ERC3009DepositCollector) Instance(backend bind.ContractBackend, addr common.Address) *bind.BoundContract {
	return bind.NewBoundContract(addr, c.abi, backend, backend, backend)
}

// PackConstructor is the Go binding used to pack the parameters required for
// contract deployment.
//
// Solidity: constructor(address settlement) returns()
func (eRC3009DepositCollector *ERC3009DepositCollector) PackConstructor(settlement common.Address) []byte {
	enc, err := eRC3009DepositCollector.abi.Pack("", settlement)
	if err != nil {
		panic(err)
	}
	return enc
}

// PackSETTLEMENT is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xef0fe245.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function SETTLEMENT() view returns(address)
func (eRC3009DepositCollector *ERC3009DepositCollector) PackSETTLEMENT() []byte {
	enc, err := eRC3009DepositCollector.abi.Pack("SETTLEMENT")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSETTLEMENT is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xef0fe245.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function SETTLEMENT() view returns(address)
func (eRC3009DepositCollector *ERC3009DepositCollector) TryPackSETTLEMENT() ([]byte, error) {
	return eRC3009DepositCollector.abi.Pack("SETTLEMENT")
}

// UnpackSETTLEMENT is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xef0fe245.
//
// Solidity: function SETTLEMENT() view returns(address)
func (eRC3009DepositCollector *ERC3009DepositCollector) UnpackSETTLEMENT(data []byte) (common.Address, error) {
	out, err := eRC3009DepositCollector.abi.Unpack("SETTLEMENT", data)
	if err != nil {
		return *new(common.Address), err
	}
	out0 := *abi.ConvertType(out[0], new(common.Address)).(*common.Address)
	return out0, nil
}

// PackCollect is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe416d8d3.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes data) returns()
func (eRC3009DepositCollector *ERC3009DepositCollector) PackCollect(payer common.Address, token common.Address, amount *big.Int, channelId [32]byte, data []byte) []byte {
	enc, err := eRC3009DepositCollector.abi.Pack("collect", payer, token, amount, channelId, data)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCollect is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe416d8d3.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes data) returns()
func (eRC3009DepositCollector *ERC3009DepositCollector) TryPackCollect(payer common.Address, token common.Address, amount *big.Int, channelId [32]byte, data []byte) ([]byte, error) {
	return eRC3009DepositCollector.abi.Pack("collect", payer, token, amount, channelId, data)
}

// UnpackError attempts to decode the provided error data using user-defined
// error definitions.
func (eRC3009DepositCollector *ERC3009DepositCollector) UnpackError(raw []byte) (any, error) {
	if bytes.Equal(raw[:4], eRC3009DepositCollector.abi.Errors["OnlySettlement"].ID.Bytes()[:4]) {
		return eRC3009DepositCollector.UnpackOnlySettlementError(raw[4:])
	}
	if bytes.Equal(raw[:4], eRC3009DepositCollector.abi.Errors["SafeERC20FailedOperation"].ID.Bytes()[:4]) {
		return eRC3009DepositCollector.UnpackSafeERC20FailedOperationError(raw[4:])
	}
	return nil, errors.New("Unknown error")
}

// ERC3009DepositCollectorOnlySettlement represents a OnlySettlement error raised by the ERC3009DepositCollector contract.
type ERC3009DepositCollectorOnlySettlement struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error OnlySettlement()
func ERC3009DepositCollectorOnlySettlementErrorID() common.Hash {
	return common.HexToHash("0x15b31976de94d4a67206fbe7de409ff9b51f30b3565532bf2b81457f7113cda4")
}

// UnpackOnlySettlementError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error OnlySettlement()
func (eRC3009DepositCollector *ERC3009DepositCollector) UnpackOnlySettlementError(raw []byte) (*ERC3009DepositCollectorOnlySettlement, error) {
	out := new(ERC3009DepositCollectorOnlySettlement)
	if err := eRC3009DepositCollector.abi.UnpackIntoInterface(out, "OnlySettlement", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// ERC3009DepositCollectorSafeERC20FailedOperation represents a SafeERC20FailedOperation error raised by the ERC3009DepositCollector contract.
type ERC3009DepositCollectorSafeERC20FailedOperation struct {
	Token common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error SafeERC20FailedOperation(address token)
func ERC3009DepositCollectorSafeERC20FailedOperationErrorID() common.Hash {
	return common.HexToHash("0x5274afe73c98b4749fc91ffae6b7b574e7842cb2144a159e9377a5f20b32edf9")
}

// UnpackSafeERC20FailedOperationError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error SafeERC20FailedOperation(address token)
func (eRC3009DepositCollector *ERC3009DepositCollector) UnpackSafeERC20FailedOperationError(raw []byte) (*ERC3009DepositCollectorSafeERC20FailedOperation, error) {
	out := new(ERC3009DepositCollectorSafeERC20FailedOperation)
	if err := eRC3009DepositCollector.abi.UnpackIntoInterface(out, "SafeERC20FailedOperation", raw); err != nil {
		return nil, err
	}
	return out, nil
}
