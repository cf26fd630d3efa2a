// Code generated via abigen V2 - DO NOT EDIT.
// This file is a generated binding and any manual changes will be lost.

package settlement

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

// SettlementChannelConfig is an auto generated low-level Go binding around an user-defined struct.
type SettlementChannelConfig struct {
	Payer              common.Address
	PayerAuthorizer    common.Address
	Receiver           common.Address
	ReceiverAuthorizer common.Address
	Token              common.Address
	WithdrawDelay      *big.Int
	Salt               [32]byte
}

// SettlementVoucher is an auto generated low-level Go binding around an user-defined struct.
type SettlementVoucher struct {
	Channel            SettlementChannelConfig
	MaxClaimableAmount *big.Int
}

// SettlementVoucherClaim is an auto generated low-level Go binding around an user-defined struct.
type SettlementVoucherClaim struct {
	Voucher      SettlementVoucher
	Signature    []byte
	TotalClaimed *big.Int
}

// SettlementMetaData contains all meta data concerning the Settlement contract.
var SettlementMetaData = bind.MetaData{
	ABI: "[{\"inputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"constructor\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"target\",\"type\":\"address\"}],\"name\":\"AddressEmptyCode\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint128\",\"name\":\"totalClaimed\",\"type\":\"uint128\"},{\"internalType\":\"uint128\",\"name\":\"balance\",\"type\":\"uint128\"}],\"name\":\"ClaimExceedsBalance\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint128\",\"name\":\"totalClaimed\",\"type\":\"uint128\"},{\"internalType\":\"uint128\",\"name\":\"maxClaimableAmount\",\"type\":\"uint128\"}],\"name\":\"ClaimExceedsVoucher\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint256\",\"name\":\"expected\",\"type\":\"uint256\"},{\"internalType\":\"uint256\",\"name\":\"received\",\"type\":\"uint256\"}],\"name\":\"DepositMismatch\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"FailedCall\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"authorizer\",\"type\":\"address\"}],\"name\":\"InvalidAuthorizerSignature\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint256\",\"name\":\"expected\",\"type\":\"uint256\"},{\"internalType\":\"uint256\",\"name\":\"given\",\"type\":\"uint256\"}],\"name\":\"InvalidRefundNonce\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"InvalidShortString\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"}],\"name\":\"InvalidVoucherSignature\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"first\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"other\",\"type\":\"address\"}],\"name\":\"MixedReceiverAuthorizers\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"NoClaims\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"NoWithdrawPending\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"}],\"name\":\"NotPayerSide\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"}],\"name\":\"NotReceiverSide\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"ReentrancyGuardReentrantCall\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"}],\"name\":\"SafeERC20FailedOperation\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"string\",\"name\":\"str\",\"type\":\"string\"}],\"name\":\"StringTooLong\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint40\",\"name\":\"delay\",\"type\":\"uint40\"}],\"name\":\"WithdrawDelayOutOfRange\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"},{\"internalType\":\"uint128\",\"name\":\"available\",\"type\":\"uint128\"}],\"name\":\"WithdrawExceedsBalance\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint256\",\"name\":\"readyAt\",\"type\":\"uint256\"}],\"name\":\"WithdrawNotReady\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint40\",\"name\":\"initiatedAt\",\"type\":\"uint40\"}],\"name\":\"WithdrawPending\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"ZeroAddress\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"ZeroAmount\",\"type\":\"error\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"indexed\":false,\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"config\",\"type\":\"tuple\"}],\"name\":\"ChannelClosed\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"indexed\":false,\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"config\",\"type\":\"tuple\"}],\"name\":\"ChannelCreated\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"totalClaimed\",\"type\":\"uint128\"}],\"name\":\"Claimed\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"balance\",\"type\":\"uint128\"}],\"name\":\"Deposited\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[],\"name\":\"EIP712DomainChanged\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"}],\"name\":\"Refunded\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"}],\"name\":\"Settled\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"}],\"name\":\"WithdrawFinalized\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"indexed\":false,\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"},{\"indexed\":false,\"internalType\":\"uint40\",\"name\":\"finalizableAt\",\"type\":\"uint40\"}],\"name\":\"WithdrawInitiated\",\"type\":\"event\"},{\"inputs\":[],\"name\":\"CHANNEL_CONFIG_TYPEHASH\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"CLAIM_BATCH_TYPEHASH\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"CLAIM_ENTRY_TYPEHASH\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"MAX_WITHDRAW_DELAY\",\"outputs\":[{\"internalType\":\"uint40\",\"name\":\"\",\"type\":\"uint40\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"MIN_WITHDRAW_DELAY\",\"outputs\":[{\"internalType\":\"uint40\",\"name\":\"\",\"type\":\"uint40\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"REFUND_TYPEHASH\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"VOUCHER_TYPEHASH\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"}],\"name\":\"channels\",\"outputs\":[{\"internalType\":\"uint128\",\"name\":\"balance\",\"type\":\"uint128\"},{\"internalType\":\"uint128\",\"name\":\"totalClaimed\",\"type\":\"uint128\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"components\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"channel\",\"type\":\"tuple\"},{\"internalType\":\"uint128\",\"name\":\"maxClaimableAmount\",\"type\":\"uint128\"}],\"internalType\":\"structSettlement.Voucher\",\"name\":\"voucher\",\"type\":\"tuple\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"},{\"internalType\":\"uint128\",\"name\":\"totalClaimed\",\"type\":\"uint128\"}],\"internalType\":\"structSettlement.VoucherClaim[]\",\"name\":\"voucherClaims\",\"type\":\"tuple[]\"}],\"name\":\"claim\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"components\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"channel\",\"type\":\"tuple\"},{\"internalType\":\"uint128\",\"name\":\"maxClaimableAmount\",\"type\":\"uint128\"}],\"internalType\":\"structSettlement.Voucher\",\"name\":\"voucher\",\"type\":\"tuple\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"},{\"internalType\":\"uint128\",\"name\":\"totalClaimed\",\"type\":\"uint128\"}],\"internalType\":\"structSettlement.VoucherClaim[]\",\"name\":\"voucherClaims\",\"type\":\"tuple[]\"},{\"internalType\":\"bytes\",\"name\":\"authorizerSignature\",\"type\":\"bytes\"}],\"name\":\"claimWithSignature\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"config\",\"type\":\"tuple\"},{\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"},{\"internalType\":\"address\",\"name\":\"collector\",\"type\":\"address\"},{\"internalType\":\"bytes\",\"name\":\"collectorData\",\"type\":\"bytes\"}],\"name\":\"deposit\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"eip712Domain\",\"outputs\":[{\"internalType\":\"bytes1\",\"name\":\"fields\",\"type\":\"bytes1\"},{\"internalType\":\"string\",\"name\":\"name\",\"type\":\"string\"},{\"internalType\":\"string\",\"name\":\"version\",\"type\":\"string\"},{\"internalType\":\"uint256\",\"name\":\"chainId\",\"type\":\"uint256\"},{\"internalType\":\"address\",\"name\":\"verifyingContract\",\"type\":\"address\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"},{\"internalType\":\"uint256[]\",\"name\":\"extensions\",\"type\":\"uint256[]\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"config\",\"type\":\"tuple\"}],\"name\":\"finalizeWithdraw\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"config\",\"type\":\"tuple\"}],\"name\":\"getChannelId\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"components\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"channel\",\"type\":\"tuple\"},{\"internalType\":\"uint128\",\"name\":\"maxClaimableAmount\",\"type\":\"uint128\"}],\"internalType\":\"structSettlement.Voucher\",\"name\":\"voucher\",\"type\":\"tuple\"},{\"internalType\":\"bytes\",\"name\":\"signature\",\"type\":\"bytes\"},{\"internalType\":\"uint128\",\"name\":\"totalClaimed\",\"type\":\"uint128\"}],\"internalType\":\"structSettlement.VoucherClaim[]\",\"name\":\"voucherClaims\",\"type\":\"tuple[]\"}],\"name\":\"getClaimBatchDigest\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint256\",\"name\":\"nonce\",\"type\":\"uint256\"},{\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"}],\"name\":\"getRefundDigest\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"},{\"internalType\":\"uint128\",\"name\":\"maxClaimableAmount\",\"type\":\"uint128\"}],\"name\":\"getVoucherDigest\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"config\",\"type\":\"tuple\"},{\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"}],\"name\":\"initiateWithdraw\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes[]\",\"name\":\"data\",\"type\":\"bytes[]\"}],\"name\":\"multicall\",\"outputs\":[{\"internalType\":\"bytes[]\",\"name\":\"results\",\"type\":\"bytes[]\"}],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"}],\"name\":\"pendingWithdrawals\",\"outputs\":[{\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"},{\"internalType\":\"uint40\",\"name\":\"initiatedAt\",\"type\":\"uint40\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"}],\"name\":\"receivers\",\"outputs\":[{\"internalType\":\"uint128\",\"name\":\"totalClaimed\",\"type\":\"uint128\"},{\"internalType\":\"uint128\",\"name\":\"totalSettled\",\"type\":\"uint128\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"config\",\"type\":\"tuple\"},{\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"}],\"name\":\"refund\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"channelId\",\"type\":\"bytes32\"}],\"name\":\"refundNonce\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"components\":[{\"internalType\":\"address\",\"name\":\"payer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"payerAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"receiverAuthorizer\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"},{\"internalType\":\"uint40\",\"name\":\"withdrawDelay\",\"type\":\"uint40\"},{\"internalType\":\"bytes32\",\"name\":\"salt\",\"type\":\"bytes32\"}],\"internalType\":\"structSettlement.ChannelConfig\",\"name\":\"config\",\"type\":\"tuple\"},{\"internalType\":\"uint128\",\"name\":\"amount\",\"type\":\"uint128\"},{\"internalType\":\"uint256\",\"name\":\"nonce\",\"type\":\"uint256\"},{\"internalType\":\"bytes\",\"name\":\"receiverAuthorizerSignature\",\"type\":\"bytes\"}],\"name\":\"refundWithSignature\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"token\",\"type\":\"address\"}],\"name\":\"settle\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"}]",
	ID:  "Settlement",
	Bin: "0x610160604052348015610010575f5ffd5b506040518060400160405280601581526020017f7834303220426174636820536574746c656d656e740000000000000000000000815250604051806040016040528060018152602001603160f81b8152506100708261011760201b60201c565b6101205261007d81610117565b61014052815160208084019190912060e052815190820120610100524660a05261010960e05161010051604080517f8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f60208201529081019290925260608201524660808201523060a08201525f9060c00160405160208183030381529060405280519060200120905090565b60805250503060c0526101b8565b5f5f829050601f8151111561014a578260405163305a27a960e01b8152600401610141919061015d565b60405180910390fd5b805161015582610192565b179392505050565b602081525f82518060208401528060208501604085015e5f604082850101526040601f19601f83011684010191505092915050565b805160208083015191908110156101b2575f198160200360031b1b821691505b50919050565b60805160a05160c05160e0516101005161012051610140516131686102095f395f611d3501525f611d0501525f61250301525f6124db01525f61243601525f61246001525f61248a01526131685ff3fe608060405234801561000f575f5ffd5b506004361061019a575f3560e01c806394739e87116100e8578063ba94ec0d11610093578063e25cf1891161006e578063e25cf189146104c7578063e43ce1f2146104da578063e88377b1146104ed578063f0dc792e14610500575f5ffd5b8063ba94ec0d1461047a578063cf5cf3dc146104a1578063dce4bfae146104b4575f5ffd5b8063ae159439116100c3578063ae159439146103e2578063b77433e9146103eb578063b7f06ebe146103fe575f5ffd5b806394739e87146103885780639db32a8f146103af578063ac9650d8146103c2575f5ffd5b806353ab0fae1161014857806384b0196e1161012357806384b0196e14610333578063862bb1991461034e5780638e4a68ac14610361575f5ffd5b806353ab0fae146102b05780635e5e0b87146102d75780637a7ebd7b146102ea575f5ffd5b806321ff63891161017857806321ff63891461020d57806329237b0c1461028a578063488ccc3b1461029d575f5ffd5b8063140f1e751461019e5780631e69ef40146101b35780631fc3277d146101ed575b5f5ffd5b6101b16101ac36600461293b565b61051f565b005b6101da7fbe23ad087435072cd69b49cc5b92de10ee610fce7ae0ab428307972d764bb21681565b6040519081526020015b60405180910390f35b6101f762278d0081565b60405164ffffffffff90911681526020016101e4565b61026161021b3660046129b0565b600560209081525f92835260408084209091529082529020546fffffffffffffffffffffffffffffffff8082169170010000000000000000000000000000000090041682565b604080516fffffffffffffffffffffffffffffffff9384168152929091166020830152016101e4565b6101b1610298366004612a22565b610902565b6101da6102ab366004612a22565b610a48565b6101da7f42bd57c010b870c2e96203c66341f28a6a19b4d56a74533a8eb5f706b9fd6d5781565b6101da6102e5366004612a61565b610c08565b6102616102f8366004612a7b565b60026020525f90815260409020546fffffffffffffffffffffffffffffffff8082169170010000000000000000000000000000000090041682565b61033b610ce8565b6040516101e49796959493929190612ade565b6101da61035c366004612b90565b610d46565b6101da7f1c9a06ceab9b0ebbd3301dc56c9111bb6d9af421356dc9ccb3b7084c755db30881565b6101da7f1e1bd6ff84c3e0d9029a292b212e039c0ca97ec497c55191a4a5874294609a6981565b6101b16103bd3660046129b0565b610da3565b6103d56103d0366004612a22565b610ecf565b6040516101e49190612bb1565b6101f761038481565b6101b16103f9366004612c32565b610fb5565b61044c61040c366004612a7b565b60036020525f90815260409020546fffffffffffffffffffffffffffffffff811690700100000000000000000000000000000000900464ffffffffff1682565b604080516fffffffffffffffffffffffffffffffff909316835264ffffffffff9091166020830152016101e4565b6101da7f30b9a0367528fca13c3e8ec6134c3113f1887ebe7a1ad61de0955aac288b0cf581565b6101b16104af366004612c83565b611057565b6101b16104c2366004612c83565b6112db565b6101da6104d5366004612cad565b61138a565b6101b16104e8366004612cdf565b6113ef565b6101b16104fb366004612a61565b611540565b6101da61050e366004612a7b565b60046020525f908152604090205481565b610527611766565b6105308561179d565b5f846fffffffffffffffffffffffffffffffff161161057b576040517f1f2a200500000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b5f61058586610c08565b5f8181526002602052604081208054929350916fffffffffffffffffffffffffffffffff161580156105dc5750815470010000000000000000000000000000000090046fffffffffffffffffffffffffffffffff16155b8254909150879083905f906106049084906fffffffffffffffffffffffffffffffff16612d78565b92506101000a8154816fffffffffffffffffffffffffffffffff02191690836fffffffffffffffffffffffffffffffff160217905550801561067957827f69d8248d5566bdb2ebc4d218970710d8378a2ff9b709a999e052b71970f808fa896040516106709190612db4565b60405180910390a25b8154604080516fffffffffffffffffffffffffffffffff808b1682529092166020830152339185917f6c2a09353b5e75e70d0b9778b80a413809bb235d46c211811c474b3346791d89910160405180910390a35f6106dd60a08a0160808b01612e5c565b6040517f70a082310000000000000000000000000000000000000000000000000000000081523060048201526001600160a01b0391909116906370a0823190602401602060405180830381865afa15801561073a573d5f5f3e3d5ffd5b505050506040513d601f19601f8201168201806040525081019061075e9190612e75565b90506001600160a01b03871663e416d8d361077c60208c018c612e5c565b61078c60a08d0160808e01612e5c565b8b888b8b6040518763ffffffff1660e01b81526004016107b196959493929190612e8c565b5f604051808303815f87803b1580156107c8575f5ffd5b505af11580156107da573d5f5f3e3d5ffd5b505050505f818a60800160208101906107f39190612e5c565b6040517f70a082310000000000000000000000000000000000000000000000000000000081523060048201526001600160a01b0391909116906370a0823190602401602060405180830381865afa158015610850573d5f5f3e3d5ffd5b505050506040513d601f19601f820116820180604052508101906108749190612e75565b61087e9190612f18565b905088816fffffffffffffffffffffffffffffffff821681146108ec576040517fed5542340000000000000000000000000000000000000000000000000000000081526fffffffffffffffffffffffffffffffff909216600483015260248201526044015b60405180910390fd5b505050505050506108fb6118ea565b5050505050565b61090a611766565b80610941576040517fe120557300000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b5f5b81811015610a3b573683838381811061095e5761095e612f2b565b90506020028101906109709190612f58565b90506109826060820160408301612e5c565b6001600160a01b0316336001600160a01b031614806109c157506109ac6080820160608301612e5c565b6001600160a01b0316336001600160a01b0316145b3390610a05576040517f520e26ac0000000000000000000000000000000000000000000000000000000081526001600160a01b0390911660048201526024016108e3565b50610a32848484818110610a1b57610a1b612f2b565b9050602002810190610a2d9190612f58565b611914565b50600101610943565b50610a446118ea565b5050565b5f808267ffffffffffffffff811115610a6357610a63612f94565b604051908082528060200260200182016040528015610a8c578160200160208202803683370190505b5090505f5b83811015610b7d5736858583818110610aac57610aac612f2b565b9050602002810190610abe9190612f58565b90507f30b9a0367528fca13c3e8ec6134c3113f1887ebe7a1ad61de0955aac288b0cf5610aea82610c08565b610afb610100840160e08501612fc1565b610b0d61014085016101208601612fc1565b6040805160208101959095528401929092526fffffffffffffffffffffffffffffffff908116606084015216608082015260a00160405160208183030381529060405280519060200120838381518110610b6957610b69612f2b565b602090810291909101015250600101610a91565b50610bfe7f42bd57c010b870c2e96203c66341f28a6a19b4d56a74533a8eb5f706b9fd6d5782604051602001610bb39190612fda565b60405160208183030381529060405280519060200120604051602001610be3929190918252602082015260400190565b60405160208183030381529060405280519060200120611cb7565b9150505b92915050565b5f610c027f1c9a06ceab9b0ebbd3301dc56c9111bb6d9af421356dc9ccb3b7084c755db308610c3a6020850185612e5c565b610c4a6040860160208701612e5c565b610c5a6060870160408801612e5c565b610c6a6080880160608901612e5c565b610c7a60a0890160808a01612e5c565b610c8a60c08a0160a08b0161300f565b6040805160208101989098526001600160a01b039687169088015293851660608701529184166080860152831660a085015290911660c08084019190915264ffffffffff90911660e083015284013561010082015261012001610be3565b5f6060805f5f5f6060610cf9611cfe565b610d01611d2e565b604080515f808252602082019092527f0f000000000000000000000000000000000000000000000000000000000000009b939a50919850469750309650945092509050565b604080517f1e1bd6ff84c3e0d9029a292b212e039c0ca97ec497c55191a4a5874294609a6960208201529081018390526fffffffffffffffffffffffffffffffff821660608201525f90610d9c90608001610be3565b9392505050565b610dab611766565b6001600160a01b038083165f90815260056020908152604080832093851683529290529081208054909190610e08906fffffffffffffffffffffffffffffffff700100000000000000000000000000000000820481169116613028565b9050806fffffffffffffffffffffffffffffffff165f03610e2a575050610ec7565b81546fffffffffffffffffffffffffffffffff9081167001000000000000000000000000000000008102178355604051908216815233906001600160a01b0385811691908716907f7337b4386b690fdb8ba66905b92b9d45d33bc6626ee2620c905fb150ec0cc47d9060200160405180910390a4610ec46001600160a01b038416856fffffffffffffffffffffffffffffffff8416611d59565b50505b610a446118ea565b604080515f8152602081019091526060908267ffffffffffffffff811115610ef957610ef9612f94565b604051908082528060200260200182016040528015610f2c57816020015b6060815260200190600190039081610f175790505b5091505f5b83811015610fad57610f8830868684818110610f4f57610f4f612f2b565b9050602002810190610f619190613050565b85604051602001610f74939291906130b1565b604051602081830303815290604052611dac565b838281518110610f9a57610f9a612f2b565b6020908102919091010152600101610f31565b505092915050565b610fbd611766565b5f610fc786610c08565b5f818152600460205260409020549091508480821461101b576040517f5e5c2419000000000000000000000000000000000000000000000000000000008152600481019290925260248201526044016108e3565b5061104390506110316080880160608901612e5c565b61103c83878961138a565b8585611e7e565b61104e818787611ece565b506108fb6118ea565b61105f611766565b611068826120fd565b5f816fffffffffffffffffffffffffffffffff16116110b3576040517f1f2a200500000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b5f6110bd83610c08565b5f81815260036020526040902054909150700100000000000000000000000000000000900464ffffffffff16801561112b576040517ff074e23000000000000000000000000000000000000000000000000000000000815264ffffffffff90911660048201526024016108e3565b505f8181526002602052604081205461116c906fffffffffffffffffffffffffffffffff700100000000000000000000000000000000820481169116613028565b905082816fffffffffffffffffffffffffffffffff80821690831611156111db576040517febf70f330000000000000000000000000000000000000000000000000000000081526fffffffffffffffffffffffffffffffff9283166004820152911660248201526044016108e3565b50506040805180820182526fffffffffffffffffffffffffffffffff808616825264ffffffffff42811660208085019182525f888152600390915294909420925183549451909116700100000000000000000000000000000000027fffffffffffffffffffffff000000000000000000000000000000000000000000909416911617919091179055817fe4280d0d903c7f258f62b07c62f262377cbaa23f7791d78126e6446e0f0e3c238461129660c0880160a0890161300f565b6112a090426130d4565b604080516fffffffffffffffffffffffffffffffff909316835264ffffffffff90911660208301520160405180910390a25050610a446118ea565b6112e3611766565b6112f36060830160408401612e5c565b6001600160a01b0316336001600160a01b03161480611332575061131d6080830160608401612e5c565b6001600160a01b0316336001600160a01b0316145b3390611376576040517f520e26ac0000000000000000000000000000000000000000000000000000000081526001600160a01b0390911660048201526024016108e3565b50610ec761138383610c08565b8383611ece565b604080517fbe23ad087435072cd69b49cc5b92de10ee610fce7ae0ab428307972d764bb2166020820152908101849052606081018390526fffffffffffffffffffffffffffffffff821660808201525f906113e79060a001610be3565b949350505050565b6113f7611766565b8261142e576040517fe120557300000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b5f84845f81811061144157611441612f2b565b90506020028101906114539190612f58565b611464906080810190606001612e5c565b90506114748161103c8787610a48565b5f5b84811015611530575f86868381811061149157611491612f2b565b90506020028101906114a39190612f58565b6114b4906080810190606001612e5c565b905082816001600160a01b0380821690831614611510576040517f02899c0f0000000000000000000000000000000000000000000000000000000081526001600160a01b039283166004820152911660248201526044016108e3565b5050611527878784818110610a1b57610a1b612f2b565b50600101611476565b505061153a6118ea565b50505050565b611548611766565b611551816120fd565b5f61155b82610c08565b5f8181526003602090815260408083208151808301909252546fffffffffffffffffffffffffffffffff81168252700100000000000000000000000000000000900464ffffffffff1691810182905292935090036115e5576040517f4085a08800000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b5f6115f660c0850160a0860161300f565b64ffffffffff16826020015164ffffffffff1661161391906130f1565b9050804210158190611654576040517fc1763c140000000000000000000000000000000000000000000000000000000081526004016108e391815260200190565b505f83815260036020908152604080832080547fffffffffffffffffffffff00000000000000000000000000000000000000000016905560029091528120546116c5906fffffffffffffffffffffffffffffffff700100000000000000000000000000000000820481169116613028565b90505f816fffffffffffffffffffffffffffffffff16845f01516fffffffffffffffffffffffffffffffff16106116fc57816116ff565b83515b6040516fffffffffffffffffffffffffffffffff82168152909150339086907f546ce1e2242cd930c196bd08b894443562d709b4fffe4f028a75a6d233efc6e39060200160405180910390a361175685878361218d565b50505050506117636118ea565b50565b61176e6122bf565b61179b60017f9b779b17422d0df92223018b32b4d1fa46e071723d6817e2486d003becc55f005b90612318565b565b5f6117ab6020830183612e5c565b6001600160a01b0316141580156117da57505f6117ce6060830160408401612e5c565b6001600160a01b031614155b80156117fe57505f6117f26080830160608401612e5c565b6001600160a01b031614155b801561182257505f61181660a0830160808401612e5c565b6001600160a01b031614155b611858576040517fd92e233d00000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b61038461186b60c0830160a0840161300f565b64ffffffffff1610158015611899575062278d0061188f60c0830160a0840161300f565b64ffffffffff1611155b6118a960c0830160a0840161300f565b90610a44576040517f7239990500000000000000000000000000000000000000000000000000000000815264ffffffffff90911660048201526024016108e3565b61179b5f7f9b779b17422d0df92223018b32b4d1fa46e071723d6817e2486d003becc55f00611795565b805f61191f82610c08565b905061192b838261231f565b61193c610100840160e08501612fc1565b6fffffffffffffffffffffffffffffffff1661196061014085016101208601612fc1565b6fffffffffffffffffffffffffffffffff16111561198661014085016101208601612fc1565b611997610100860160e08701612fc1565b90916119eb576040517ff04d69530000000000000000000000000000000000000000000000000000000081526fffffffffffffffffffffffffffffffff9283166004820152911660248201526044016108e3565b50505f818152600260205260409020805470010000000000000000000000000000000090046fffffffffffffffffffffffffffffffff16611a3461014086016101208701612fc1565b6fffffffffffffffffffffffffffffffff1611611a515750505050565b80546fffffffffffffffffffffffffffffffff16611a7761014086016101208701612fc1565b6fffffffffffffffffffffffffffffffff161115611a9d61014086016101208701612fc1565b825490916fffffffffffffffffffffffffffffffff90911690611b08576040517f035745940000000000000000000000000000000000000000000000000000000081526fffffffffffffffffffffffffffffffff9283166004820152911660248201526044016108e3565b505080545f9070010000000000000000000000000000000090046fffffffffffffffffffffffffffffffff16611b4661014087016101208801612fc1565b611b509190613028565b9050611b6461014086016101208701612fc1565b82546fffffffffffffffffffffffffffffffff9182167001000000000000000000000000000000000291161782558060055f611ba66060880160408901612e5c565b6001600160a01b0316815260208101919091526040015f90812090611bd160a0880160808901612e5c565b6001600160a01b0316815260208101919091526040015f9081208054909190611c0d9084906fffffffffffffffffffffffffffffffff16612d78565b92506101000a8154816fffffffffffffffffffffffffffffffff02191690836fffffffffffffffffffffffffffffffff160217905550336001600160a01b0316837f36bd546bb573e8921fdbfd934bbed62d872796b01792cd240cce27f79dd3eddd8388610120016020810190611c849190612fc1565b604080516fffffffffffffffffffffffffffffffff93841681529290911660208301520160405180910390a35050505050565b5f610c02611cc361242a565b836040517f19010000000000000000000000000000000000000000000000000000000000008152600281019290925260228201526042902090565b6060611d297f0000000000000000000000000000000000000000000000000000000000000000612553565b905090565b6060611d297f0000000000000000000000000000000000000000000000000000000000000000612553565b611d668383836001612590565b611da7576040517f5274afe70000000000000000000000000000000000000000000000000000000081526001600160a01b03841660048201526024016108e3565b505050565b60605f611db9848461260b565b9050808015611dda57505f3d1180611dda57505f846001600160a01b03163b115b15611def57611de761261e565b915050610c02565b8015611e32576040517f9996b3150000000000000000000000000000000000000000000000000000000081526001600160a01b03851660048201526024016108e3565b3d15611e4557611e40612637565b611e77565b6040517fd6bda27500000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b5092915050565b611e8a84848484612642565b84906108fb576040517f664e978d0000000000000000000000000000000000000000000000000000000081526001600160a01b0390911660048201526024016108e3565b5f816fffffffffffffffffffffffffffffffff1611611f19576040517f1f2a200500000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b5f838152600460205260408120805491611f3283613104565b90915550505f83815260026020526040812054611f77906fffffffffffffffffffffffffffffffff700100000000000000000000000000000000820481169116613028565b9050806fffffffffffffffffffffffffffffffff16826fffffffffffffffffffffffffffffffff161115611fa9578091505b816fffffffffffffffffffffffffffffffff165f03611fc85750505050565b5f8481526003602052604090208054700100000000000000000000000000000000900464ffffffffff16156120a95780546fffffffffffffffffffffffffffffffff9081169084161061204d575f85815260036020526040902080547fffffffffffffffffffffff0000000000000000000000000000000000000000001690556120a9565b8054839082905f906120729084906fffffffffffffffffffffffffffffffff16613028565b92506101000a8154816fffffffffffffffffffffffffffffffff02191690836fffffffffffffffffffffffffffffffff1602179055505b6040516fffffffffffffffffffffffffffffffff84168152339086907fa84286cf8ebc7903a663c77c8d99aa92b600d4c2fcca872a5d4a663db4eb394b9060200160405180910390a36108fb85858561218d565b61210a6020820182612e5c565b6001600160a01b0316336001600160a01b0316148061214957506121346040820160208301612e5c565b6001600160a01b0316336001600160a01b0316145b3390610a44576040517f22fe4b310000000000000000000000000000000000000000000000000000000081526001600160a01b0390911660048201526024016108e3565b806fffffffffffffffffffffffffffffffff165f036121ab57505050565b5f8381526002602052604081208054909183918391906121de9084906fffffffffffffffffffffffffffffffff16613028565b82546101009290920a6fffffffffffffffffffffffffffffffff818102199093169183160217909155825416159050801561223e5750805470010000000000000000000000000000000090046fffffffffffffffffffffffffffffffff16155b1561227c57837f8d5942f197f362dfd44dfdc1b0b7a9721c9151b67f55817c83349271d3c08d37846040516122739190612db4565b60405180910390a25b61153a61228c6020850185612e5c565b6fffffffffffffffffffffffffffffffff84166122af60a0870160808801612e5c565b6001600160a01b03169190611d59565b7f9b779b17422d0df92223018b32b4d1fa46e071723d6817e2486d003becc55f005c1561179b576040517f3ee5aeb500000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b80825d5050565b815f6123368361035c610100850160e08601612fc1565b90505f8061234a6040850160208601612e5c565b6001600160a01b0316036123835761237c6123686020850185612e5c565b83612377610100890189613050565b612642565b90506123e7565b5f8061239c846123976101008a018a613050565b6126b6565b5090925090505f8160038111156123b5576123b561313b565b1480156123e257506123cd6040860160208701612e5c565b6001600160a01b0316826001600160a01b0316145b925050505b8381612422576040517f692acc3d0000000000000000000000000000000000000000000000000000000081526004016108e391815260200190565b505050505050565b5f306001600160a01b037f00000000000000000000000000000000000000000000000000000000000000001614801561248257507f000000000000000000000000000000000000000000000000000000000000000046145b156124ac57507f000000000000000000000000000000000000000000000000000000000000000090565b611d29604080517f8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f60208201527f0000000000000000000000000000000000000000000000000000000000000000918101919091527f000000000000000000000000000000000000000000000000000000000000000060608201524660808201523060a08201525f9060c00160405160208183030381529060405280519060200120905090565b60605f61255f836126fd565b6040805160208082528183019092529192505f91906020820181803683375050509182525060208101929092525090565b6040517fa9059cbb000000000000000000000000000000000000000000000000000000005f8181526001600160a01b038616600452602485905291602083604481808b5af1925060015f511483166125ff5783831516156125f3573d5f823e3d81fd5b5f873b113d1516831692505b60405250949350505050565b5f5f5f835160208501865af49392505050565b6040513d81523d5f602083013e3d602001810160405290565b6040513d5f823e3d81fd5b5f846001600160a01b03163b5f036126a1575f5f6126618686866126b6565b5090925090505f81600381111561267a5761267a61313b565b1480156126985750866001600160a01b0316826001600160a01b0316145b925050506113e7565b6126ad8585858561273d565b95945050505050565b5f808060418490036126ea578435602086013560408701355f1a6126dc898285856127c0565b9550955095505050506126f4565b505f915060029050825b93509350939050565b5f60ff8216601f811115610c02576040517fb3512b0c00000000000000000000000000000000000000000000000000000000815260040160405180910390fd5b604080517f1626ba7e00000000000000000000000000000000000000000000000000000000808252600482018690526024820192909252604481018390525f91908390818660648301375f82606483010152601f820160051c60051b915060205f60648401838b5afa9050825f5114601f3d111681169350505050949350505050565b5f80807f7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a08411156127f957505f9150600390508261289c565b604080515f808252602082018084528a905260ff891692820192909252606081018790526080810186905260019060a0016020604051602081039080840390855afa15801561284a573d5f5f3e3d5ffd5b50506040517fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe001519150506001600160a01b03811661289357505f92506001915082905061289c565b92505f91508190505b9450945094915050565b5f60e082840312156128b6575f5ffd5b50919050565b80356fffffffffffffffffffffffffffffffff811681146128db575f5ffd5b919050565b80356001600160a01b03811681146128db575f5ffd5b5f5f83601f840112612906575f5ffd5b50813567ffffffffffffffff81111561291d575f5ffd5b602083019150836020828501011115612934575f5ffd5b9250929050565b5f5f5f5f5f6101408688031215612950575f5ffd5b61295a87876128a6565b945061296860e087016128bc565b935061297761010087016128e0565b925061012086013567ffffffffffffffff811115612993575f5ffd5b61299f888289016128f6565b969995985093965092949392505050565b5f5f604083850312156129c1575f5ffd5b6129ca836128e0565b91506129d8602084016128e0565b90509250929050565b5f5f83601f8401126129f1575f5ffd5b50813567ffffffffffffffff811115612a08575f5ffd5b6020830191508360208260051b8501011115612934575f5ffd5b5f5f60208385031215612a33575f5ffd5b823567ffffffffffffffff811115612a49575f5ffd5b612a55858286016129e1565b90969095509350505050565b5f60e08284031215612a71575f5ffd5b610d9c83836128a6565b5f60208284031215612a8b575f5ffd5b5035919050565b5f81518084528060208401602086015e5f6020828601015260207fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0601f83011685010191505092915050565b7fff000000000000000000000000000000000000000000000000000000000000008816815260e060208201525f612b1860e0830189612a92565b8281036040840152612b2a8189612a92565b606084018890526001600160a01b038716608085015260a0840186905283810360c0850152845180825260208087019350909101905f5b81811015612b7f578351835260209384019390920191600101612b61565b50909b9a5050505050505050505050565b5f5f60408385031215612ba1575f5ffd5b823591506129d8602084016128bc565b5f602082016020835280845180835260408501915060408160051b8601019250602086015f5b82811015612c26577fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc0878603018452612c11858351612a92565b94506020938401939190910190600101612bd7565b50929695505050505050565b5f5f5f5f5f6101408688031215612c47575f5ffd5b612c5187876128a6565b9450612c5f60e087016128bc565b9350610100860135925061012086013567ffffffffffffffff811115612993575f5ffd5b5f5f6101008385031215612c95575f5ffd5b612c9f84846128a6565b91506129d860e084016128bc565b5f5f5f60608486031215612cbf575f5ffd5b8335925060208401359150612cd6604085016128bc565b90509250925092565b5f5f5f5f60408587031215612cf2575f5ffd5b843567ffffffffffffffff811115612d08575f5ffd5b612d14878288016129e1565b909550935050602085013567ffffffffffffffff811115612d33575f5ffd5b612d3f878288016128f6565b95989497509550505050565b7f4e487b71000000000000000000000000000000000000000000000000000000005f52601160045260245ffd5b6fffffffffffffffffffffffffffffffff8181168382160190811115610c0257610c02612d4b565b803564ffffffffff811681146128db575f5ffd5b60e081016001600160a01b03612dc9846128e0565b1682526001600160a01b03612de0602085016128e0565b1660208301526001600160a01b03612dfa604085016128e0565b1660408301526001600160a01b03612e14606085016128e0565b1660608301526001600160a01b03612e2e608085016128e0565b166080830152612e4060a08401612da0565b64ffffffffff811660a08401525060c092830135919092015290565b5f60208284031215612e6c575f5ffd5b610d9c826128e0565b5f60208284031215612e85575f5ffd5b5051919050565b6001600160a01b03871681526001600160a01b03861660208201526fffffffffffffffffffffffffffffffff8516604082015283606082015260a060808201528160a0820152818360c08301375f81830160c090810191909152601f9092017fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe016010195945050505050565b81810381811115610c0257610c02612d4b565b7f4e487b71000000000000000000000000000000000000000000000000000000005f52603260045260245ffd5b5f82357ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec1833603018112612f8a575f5ffd5b9190910192915050565b7f4e487b71000000000000000000000000000000000000000000000000000000005f52604160045260245ffd5b5f60208284031215612fd1575f5ffd5b610d9c826128bc565b81515f90829060208501835b82811015613004578151845260209384019390910190600101612fe6565b509195945050505050565b5f6020828403121561301f575f5ffd5b610d9c82612da0565b6fffffffffffffffffffffffffffffffff8281168282160390811115610c0257610c02612d4b565b5f5f83357fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe1843603018112613083575f5ffd5b83018035915067ffffffffffffffff82111561309d575f5ffd5b602001915036819003821315612934575f5ffd5b828482375f8382015f815283518060208601835e5f910190815295945050505050565b64ffffffffff8181168382160190811115610c0257610c02612d4b565b80820180821115610c0257610c02612d4b565b5f7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff820361313457613134612d4b565b5060010190565b7f4e487b71000000000000000000000000000000000000000000000000000000005f52602160045260245ffd",
}

// Settlement is an auto generated Go binding around an Ethereum contract.
type Settlement struct {
	abi abi.ABI
}

// GetABI returns the ABI associated with this contract binding.
func (c *Settlement) GetABI() abi.ABI {
	return c.abi
}

// NewSettlement creates a new instance of Settlement.
func NewSettlement() *Settlement {
	parsed, err := SettlementMetaData.ParseABI()
	if err != nil {
		panic(errors.New("invalid ABI: " + err.Error()))
	}
	return &Settlement{abi: *parsed}
}

// Instance creates a wrapper for a deployed contract instance at the given address.
// Use this to create the instance object passed to abigen v2 library functions Call, Transact, etc.
func (c *Settlement) Instance(backend bind.ContractBackend, addr common.Address) *bind.BoundContract {
	return bind.NewBoundContract(addr, c.abi, backend, backend, backend)
}

// PackCHANNELCONFIGTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x8e4a68ac.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function CHANNEL_CONFIG_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) PackCHANNELCONFIGTYPEHASH() []byte {
	enc, err := settlement.abi.Pack("CHANNEL_CONFIG_TYPEHASH")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCHANNELCONFIGTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x8e4a68ac.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function CHANNEL_CONFIG_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) TryPackCHANNELCONFIGTYPEHASH() ([]byte, error) {
	return settlement.abi.Pack("CHANNEL_CONFIG_TYPEHASH")
}

// UnpackCHANNELCONFIGTYPEHASH is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x8e4a68ac.
//
// Solidity: function CHANNEL_CONFIG_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) UnpackCHANNELCONFIGTYPEHASH(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("CHANNEL_CONFIG_TYPEHASH", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackCLAIMBATCHTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x53ab0fae.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function CLAIM_BATCH_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) PackCLAIMBATCHTYPEHASH() []byte {
	enc, err := settlement.abi.Pack("CLAIM_BATCH_TYPEHASH")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCLAIMBATCHTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x53ab0fae.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function CLAIM_BATCH_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) TryPackCLAIMBATCHTYPEHASH() ([]byte, error) {
	return settlement.abi.Pack("CLAIM_BATCH_TYPEHASH")
}

// UnpackCLAIMBATCHTYPEHASH is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x53ab0fae.
//
// Solidity: function CLAIM_BATCH_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) UnpackCLAIMBATCHTYPEHASH(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("CLAIM_BATCH_TYPEHASH", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackCLAIMENTRYTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xba94ec0d.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function CLAIM_ENTRY_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) PackCLAIMENTRYTYPEHASH() []byte {
	enc, err := settlement.abi.Pack("CLAIM_ENTRY_TYPEHASH")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCLAIMENTRYTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xba94ec0d.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function CLAIM_ENTRY_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) TryPackCLAIMENTRYTYPEHASH() ([]byte, error) {
	return settlement.abi.Pack("CLAIM_ENTRY_TYPEHASH")
}

// UnpackCLAIMENTRYTYPEHASH is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xba94ec0d.
//
// Solidity: function CLAIM_ENTRY_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) UnpackCLAIMENTRYTYPEHASH(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("CLAIM_ENTRY_TYPEHASH", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackMAXWITHDRAWDELAY is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x1fc3277d.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function MAX_WITHDRAW_DELAY() view returns(uint40)
func (settlement *Settlement) PackMAXWITHDRAWDELAY() []byte {
	enc, err := settlement.abi.Pack("MAX_WITHDRAW_DELAY")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackMAXWITHDRAWDELAY is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x1fc3277d.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function MAX_WITHDRAW_DELAY() view returns(uint40)
func (settlement *Settlement) TryPackMAXWITHDRAWDELAY() ([]byte, error) {
	return settlement.abi.Pack("MAX_WITHDRAW_DELAY")
}

// UnpackMAXWITHDRAWDELAY is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x1fc3277d.
//
// Solidity: function MAX_WITHDRAW_DELAY() view returns(uint40)
func (settlement *Settlement) UnpackMAXWITHDRAWDELAY(data []byte) (*big.Int, error) {
	out, err := settlement.abi.Unpack("MAX_WITHDRAW_DELAY", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackMINWITHDRAWDELAY is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xae159439.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function MIN_WITHDRAW_DELAY() view returns(uint40)
func (settlement *Settlement) PackMINWITHDRAWDELAY() []byte {
	enc, err := settlement.abi.Pack("MIN_WITHDRAW_DELAY")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackMINWITHDRAWDELAY is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xae159439.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function MIN_WITHDRAW_DELAY() view returns(uint40)
func (settlement *Settlement) TryPackMINWITHDRAWDELAY() ([]byte, error) {
	return settlement.abi.Pack("MIN_WITHDRAW_DELAY")
}

// UnpackMINWITHDRAWDELAY is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xae159439.
//
// Solidity: function MIN_WITHDRAW_DELAY() view returns(uint40)
func (settlement *Settlement) UnpackMINWITHDRAWDELAY(data []byte) (*big.Int, error) {
	out, err := settlement.abi.Unpack("MIN_WITHDRAW_DELAY", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackREFUNDTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x1e69ef40.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function REFUND_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) PackREFUNDTYPEHASH() []byte {
	enc, err := settlement.abi.Pack("REFUND_TYPEHASH")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackREFUNDTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x1e69ef40.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function REFUND_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) TryPackREFUNDTYPEHASH() ([]byte, error) {
	return settlement.abi.Pack("REFUND_TYPEHASH")
}

// UnpackREFUNDTYPEHASH is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x1e69ef40.
//
// Solidity: function REFUND_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) UnpackREFUNDTYPEHASH(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("REFUND_TYPEHASH", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackVOUCHERTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x94739e87.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function VOUCHER_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) PackVOUCHERTYPEHASH() []byte {
	enc, err := settlement.abi.Pack("VOUCHER_TYPEHASH")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackVOUCHERTYPEHASH is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x94739e87.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function VOUCHER_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) TryPackVOUCHERTYPEHASH() ([]byte, error) {
	return settlement.abi.Pack("VOUCHER_TYPEHASH")
}

// UnpackVOUCHERTYPEHASH is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x94739e87.
//
// Solidity: function VOUCHER_TYPEHASH() view returns(bytes32)
func (settlement *Settlement) UnpackVOUCHERTYPEHASH(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("VOUCHER_TYPEHASH", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackChannels is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x7a7ebd7b.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function channels(bytes32 channelId) view returns(uint128 balance, uint128 totalClaimed)
func (settlement *Settlement) PackChannels(channelId [32]byte) []byte {
	enc, err := settlement.abi.Pack("channels", channelId)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackChannels is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x7a7ebd7b.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function channels(bytes32 channelId) view returns(uint128 balance, uint128 totalClaimed)
func (settlement *Settlement) TryPackChannels(channelId [32]byte) ([]byte, error) {
	return settlement.abi.Pack("channels", channelId)
}

// ChannelsOutput serves as a container for the return parameters of contract
// method Channels.
type ChannelsOutput struct {
	Balance      *big.Int
	TotalClaimed *big.Int
}

// UnpackChannels is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x7a7ebd7b.
//
// Solidity: function channels(bytes32 channelId) view returns(uint128 balance, uint128 totalClaimed)
func (settlement *Settlement) UnpackChannels(data []byte) (ChannelsOutput, error) {
	out, err := settlement.abi.Unpack("channels", data)
	outstruct := new(ChannelsOutput)
	if err != nil {
		return *outstruct, err
	}
	outstruct.Balance = abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	outstruct.TotalClaimed = abi.ConvertType(out[1], new(big.Int)).(*big.Int)
	return *outstruct, nil
}

// PackClaim is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x29237b0c.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function claim((((address,address,address,address,address,uint40,bytes32),uint128),bytes,uint128)[] voucherClaims) returns()
func (settlement *Settlement) PackClaim(voucherClaims []SettlementVoucherClaim) []byte {
	enc, err := settlement.abi.Pack("claim", voucherClaims)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackClaim is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x29237b0c.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function claim((((address,address,address,address,address,uint40,bytes32),uint128),bytes,uint128)[] voucherClaims) returns()
func (settlement *Settlement) TryPackClaim(voucherClaims []SettlementVoucherClaim) ([]byte, error) {
	return settlement.abi.Pack("claim", voucherClaims)
}

// PackClaimWithSignature is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe43ce1f2.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function claimWithSignature((((address,address,address,address,address,uint40,bytes32),uint128),bytes,uint128)[] voucherClaims, bytes authorizerSignature) returns()
func (settlement *Settlement) PackClaimWithSignature(voucherClaims []SettlementVoucherClaim, authorizerSignature []byte) []byte {
	enc, err := settlement.abi.Pack("claimWithSignature", voucherClaims, authorizerSignature)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackClaimWithSignature is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe43ce1f2.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function claimWithSignature((((address,address,address,address,address,uint40,bytes32),uint128),bytes,uint128)[] voucherClaims, bytes authorizerSignature) returns()
func (settlement *Settlement) TryPackClaimWithSignature(voucherClaims []SettlementVoucherClaim, authorizerSignature []byte) ([]byte, error) {
	return settlement.abi.Pack("claimWithSignature", voucherClaims, authorizerSignature)
}

// PackDeposit is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x140f1e75.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function deposit((address,address,address,address,address,uint40,bytes32) config, uint128 amount, address collector, bytes collectorData) returns()
func (settlement *Settlement) PackDeposit(config SettlementChannelConfig, amount *big.Int, collector common.Address, collectorData []byte) []byte {
	enc, err := settlement.abi.Pack("deposit", config, amount, collector, collectorData)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackDeposit is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x140f1e75.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function deposit((address,address,address,address,address,uint40,bytes32) config, uint128 amount, address collector, bytes collectorData) returns()
func (settlement *Settlement) TryPackDeposit(config SettlementChannelConfig, amount *big.Int, collector common.Address, collectorData []byte) ([]byte, error) {
	return settlement.abi.Pack("deposit", config, amount, collector, collectorData)
}

// PackEip712Domain is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x84b0196e.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function eip712Domain() view returns(bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)
func (settlement *Settlement) PackEip712Domain() []byte {
	enc, err := settlement.abi.Pack("eip712Domain")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackEip712Domain is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x84b0196e.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function eip712Domain() view returns(bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)
func (settlement *Settlement) TryPackEip712Domain() ([]byte, error) {
	return settlement.abi.Pack("eip712Domain")
}

// Eip712DomainOutput serves as a container for the return parameters of contract
// method Eip712Domain.
type Eip712DomainOutput struct {
	Fields            [1]byte
	Name              string
	Version           string
	ChainId           *big.Int
	VerifyingContract common.Address
	Salt              [32]byte
	Extensions        []*big.Int
}

// UnpackEip712Domain is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x84b0196e.
//
// Solidity: function eip712Domain() view returns(bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)
func (settlement *Settlement) UnpackEip712Domain(data []byte) (Eip712DomainOutput, error) {
	out, err := settlement.abi.Unpack("eip712Domain", data)
	outstruct := new(Eip712DomainOutput)
	if err != nil {
		return *outstruct, err
	}
	outstruct.Fields = *abi.ConvertType(out[0], new([1]byte)).(*[1]byte)
	outstruct.Name = *abi.ConvertType(out[1], new(string)).(*string)
	outstruct.Version = *abi.ConvertType(out[2], new(string)).(*string)
	outstruct.ChainId = abi.ConvertType(out[3], new(big.Int)).(*big.Int)
	outstruct.VerifyingContract = *abi.ConvertType(out[4], new(common.Address)).(*common.Address)
	outstruct.Salt = *abi.ConvertType(out[5], new([32]byte)).(*[32]byte)
	outstruct.Extensions = *abi.ConvertType(out[6], new([]*big.Int)).(*[]*big.Int)
	return *outstruct, nil
}

// PackFinalizeWithdraw is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe88377b1.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function finalizeWithdraw((address,address,address,address,address,uint40,bytes32) config) returns()
func (settlement *Settlement) PackFinalizeWithdraw(config SettlementChannelConfig) []byte {
	enc, err := settlement.abi.Pack("finalizeWithdraw", config)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackFinalizeWithdraw is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe88377b1.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function finalizeWithdraw((address,address,address,address,address,uint40,bytes32) config) returns()
func (settlement *Settlement) TryPackFinalizeWithdraw(config SettlementChannelConfig) ([]byte, error) {
	return settlement.abi.Pack("finalizeWithdraw", config)
}

// PackGetChannelId is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x5e5e0b87.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function getChannelId((address,address,address,address,address,uint40,bytes32) config) view returns(bytes32)
func (settlement *Settlement) PackGetChannelId(config SettlementChannelConfig) []byte {
	enc, err := settlement.abi.Pack("getChannelId", config)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGetChannelId is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x5e5e0b87.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function getChannelId((address,address,address,address,address,uint40,bytes32) config) view returns(bytes32)
func (settlement *Settlement) TryPackGetChannelId(config SettlementChannelConfig) ([]byte, error) {
	return settlement.abi.Pack("getChannelId", config)
}

// UnpackGetChannelId is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x5e5e0b87.
//
// Solidity: function getChannelId((address,address,address,address,address,uint40,bytes32) config) view returns(bytes32)
func (settlement *Settlement) UnpackGetChannelId(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("getChannelId", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackGetClaimBatchDigest is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x488ccc3b.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function getClaimBatchDigest((((address,address,address,address,address,uint40,bytes32),uint128),bytes,uint128)[] voucherClaims) view returns(bytes32)
func (settlement *Settlement) PackGetClaimBatchDigest(voucherClaims []SettlementVoucherClaim) []byte {
	enc, err := settlement.abi.Pack("getClaimBatchDigest", voucherClaims)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGetClaimBatchDigest is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x488ccc3b.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function getClaimBatchDigest((((address,address,address,address,address,uint40,bytes32),uint128),bytes,uint128)[] voucherClaims) view returns(bytes32)
func (settlement *Settlement) TryPackGetClaimBatchDigest(voucherClaims []SettlementVoucherClaim) ([]byte, error) {
	return settlement.abi.Pack("getClaimBatchDigest", voucherClaims)
}

// UnpackGetClaimBatchDigest is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x488ccc3b.
//
// Solidity: function getClaimBatchDigest((((address,address,address,address,address,uint40,bytes32),uint128),bytes,uint128)[] voucherClaims) view returns(bytes32)
func (settlement *Settlement) UnpackGetClaimBatchDigest(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("getClaimBatchDigest", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackGetRefundDigest is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe25cf189.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) view returns(bytes32)
func (settlement *Settlement) PackGetRefundDigest(channelId [32]byte, nonce *big.Int, amount *big.Int) []byte {
	enc, err := settlement.abi.Pack("getRefundDigest", channelId, nonce, amount)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGetRefundDigest is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe25cf189.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) view returns(bytes32)
func (settlement *Settlement) TryPackGetRefundDigest(channelId [32]byte, nonce *big.Int, amount *big.Int) ([]byte, error) {
	return settlement.abi.Pack("getRefundDigest", channelId, nonce, amount)
}

// UnpackGetRefundDigest is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xe25cf189.
//
// Solidity: function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) view returns(bytes32)
func (settlement *Settlement) UnpackGetRefundDigest(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("getRefundDigest", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackGetVoucherDigest is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x862bb199.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) view returns(bytes32)
func (settlement *Settlement) PackGetVoucherDigest(channelId [32]byte, maxClaimableAmount *big.Int) []byte {
	enc, err := settlement.abi.Pack("getVoucherDigest", channelId, maxClaimableAmount)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGetVoucherDigest is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x862bb199.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) view returns(bytes32)
func (settlement *Settlement) TryPackGetVoucherDigest(channelId [32]byte, maxClaimableAmount *big.Int) ([]byte, error) {
	return settlement.abi.Pack("getVoucherDigest", channelId, maxClaimableAmount)
}

// UnpackGetVoucherDigest is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x862bb199.
//
// Solidity: function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) view returns(bytes32)
func (settlement *Settlement) UnpackGetVoucherDigest(data []byte) ([32]byte, error) {
	out, err := settlement.abi.Unpack("getVoucherDigest", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackInitiateWithdraw is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xcf5cf3dc.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function initiateWithdraw((address,address,address,address,address,uint40,bytes32) config, uint128 amount) returns()
func (settlement *Settlement) PackInitiateWithdraw(config SettlementChannelConfig, amount *big.Int) []byte {
	enc, err := settlement.abi.Pack("initiateWithdraw", config, amount)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackInitiateWithdraw is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xcf5cf3dc.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function initiateWithdraw((address,address,address,address,address,uint40,bytes32) config, uint128 amount) returns()
func (settlement *Settlement) TryPackInitiateWithdraw(config SettlementChannelConfig, amount *big.Int) ([]byte, error) {
	return settlement.abi.Pack("initiateWithdraw", config, amount)
}

// PackMulticall is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xac9650d8.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function multicall(bytes[] data) returns(bytes[] results)
func (settlement *Settlement) PackMulticall(data [][]byte) []byte {
	enc, err := settlement.abi.Pack("multicall", data)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackMulticall is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xac9650d8.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function multicall(bytes[] data) returns(bytes[] results)
func (settlement *Settlement) TryPackMulticall(data [][]byte) ([]byte, error) {
	return settlement.abi.Pack("multicall", data)
}

// UnpackMulticall is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xac9650d8.
//
// Solidity: function multicall(bytes[] data) returns(bytes[] results)
func (settlement *Settlement) UnpackMulticall(data []byte) ([][]byte, error) {
	out, err := settlement.abi.Unpack("multicall", data)
	if err != nil {
		return *new([][]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([][]byte)).(*[][]byte)
	return out0, nil
}

// PackPendingWithdrawals is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xb7f06ebe.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function pendingWithdrawals(bytes32 channelId) view returns(uint128 amount, uint40 initiatedAt)
func (settlement *Settlement) PackPendingWithdrawals(channelId [32]byte) []byte {
	enc, err := settlement.abi.Pack("pendingWithdrawals", channelId)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackPendingWithdrawals is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xb7f06ebe.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function pendingWithdrawals(bytes32 channelId) view returns(uint128 amount, uint40 initiatedAt)
func (settlement *Settlement) TryPackPendingWithdrawals(channelId [32]byte) ([]byte, error) {
	return settlement.abi.Pack("pendingWithdrawals", channelId)
}

// PendingWithdrawalsOutput serves as a container for the return parameters of contract
// method PendingWithdrawals.
type PendingWithdrawalsOutput struct {
	Amount      *big.Int
	InitiatedAt *big.Int
}

// UnpackPendingWithdrawals is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xb7f06ebe.
//
// Solidity: function pendingWithdrawals(bytes32 channelId) view returns(uint128 amount, uint40 initiatedAt)
func (settlement *Settlement) UnpackPendingWithdrawals(data []byte) (PendingWithdrawalsOutput, error) {
	out, err := settlement.abi.Unpack("pendingWithdrawals", data)
	outstruct := new(PendingWithdrawalsOutput)
	if err != nil {
		return *outstruct, err
	}
	outstruct.Amount = abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	outstruct.InitiatedAt = abi.ConvertType(out[1], new(big.Int)).(*big.Int)
	return *outstruct, nil
}

// PackReceivers is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x21ff6389.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function receivers(address receiver, address token) view returns(uint128 totalClaimed, uint128 totalSettled)
func (settlement *Settlement) PackReceivers(receiver common.Address, token common.Address) []byte {
	enc, err := settlement.abi.Pack("receivers", receiver, token)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackReceivers is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x21ff6389.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function receivers(address receiver, address token) view returns(uint128 totalClaimed, uint128 totalSettled)
func (settlement *Settlement) TryPackReceivers(receiver common.Address, token common.Address) ([]byte, error) {
	return settlement.abi.Pack("receivers", receiver, token)
}

// ReceiversOutput serves as a container for the return parameters of contract
// method Receivers.
type ReceiversOutput struct {
	TotalClaimed *big.Int
	TotalSettled *big.Int
}

// UnpackReceivers is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x21ff6389.
//
// Solidity: function receivers(address receiver, address token) view returns(uint128 totalClaimed, uint128 totalSettled)
func (settlement *Settlement) UnpackReceivers(data []byte) (ReceiversOutput, error) {
	out, err := settlement.abi.Unpack("receivers", data)
	outstruct := new(ReceiversOutput)
	if err != nil {
		return *outstruct, err
	}
	outstruct.TotalClaimed = abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	outstruct.TotalSettled = abi.ConvertType(out[1], new(big.Int)).(*big.Int)
	return *outstruct, nil
}

// PackRefund is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xdce4bfae.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function refund((address,address,address,address,address,uint40,bytes32) config, uint128 amount) returns()
func (settlement *Settlement) PackRefund(config SettlementChannelConfig, amount *big.Int) []byte {
	enc, err := settlement.abi.Pack("refund", config, amount)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRefund is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xdce4bfae.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function refund((address,address,address,address,address,uint40,bytes32) config, uint128 amount) returns()
func (settlement *Settlement) TryPackRefund(config SettlementChannelConfig, amount *big.Int) ([]byte, error) {
	return settlement.abi.Pack("refund", config, amount)
}

// PackRefundNonce is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xf0dc792e.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function refundNonce(bytes32 channelId) view returns(uint256)
func (settlement *Settlement) PackRefundNonce(channelId [32]byte) []byte {
	enc, err := settlement.abi.Pack("refundNonce", channelId)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRefundNonce is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xf0dc792e.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function refundNonce(bytes32 channelId) view returns(uint256)
func (settlement *Settlement) TryPackRefundNonce(channelId [32]byte) ([]byte, error) {
	return settlement.abi.Pack("refundNonce", channelId)
}

// UnpackRefundNonce is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xf0dc792e.
//
// Solidity: function refundNonce(bytes32 channelId) view returns(uint256)
func (settlement *Settlement) UnpackRefundNonce(data []byte) (*big.Int, error) {
	out, err := settlement.abi.Unpack("refundNonce", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackRefundWithSignature is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xb77433e9.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function refundWithSignature((address,address,address,address,address,uint40,bytes32) config, uint128 amount, uint256 nonce, bytes receiverAuthorizerSignature) returns()
func (settlement *Settlement) PackRefundWithSignature(config SettlementChannelConfig, amount *big.Int, nonce *big.Int, receiverAuthorizerSignature []byte) []byte {
	enc, err := settlement.abi.Pack("refundWithSignature", config, amount, nonce, receiverAuthorizerSignature)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRefundWithSignature is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xb77433e9.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function refundWithSignature((address,address,address,address,address,uint40,bytes32) config, uint128 amount, uint256 nonce, bytes receiverAuthorizerSignature) returns()
func (settlement *Settlement) TryPackRefundWithSignature(config SettlementChannelConfig, amount *big.Int, nonce *big.Int, receiverAuthorizerSignature []byte) ([]byte, error) {
	return settlement.abi.Pack("refundWithSignature", config, amount, nonce, receiverAuthorizerSignature)
}

// PackSettle is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x9db32a8f.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function settle(address receiver, address token) returns()
func (settlement *Settlement) PackSettle(receiver common.Address, token common.Address) []byte {
	enc, err := settlement.abi.Pack("settle", receiver, token)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSettle is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x9db32a8f.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function settle(address receiver, address token) returns()
func (settlement *Settlement) TryPackSettle(receiver common.Address, token common.Address) ([]byte, error) {
	return settlement.abi.Pack("settle", receiver, token)
}

// SettlementChannelClosed represents a ChannelClosed event raised by the Settlement contract.
type SettlementChannelClosed struct {
	ChannelId [32]byte
	Config    SettlementChannelConfig
	Raw       *types.Log // Blockchain specific contextual infos
}

const SettlementChannelClosedEventName = "ChannelClosed"

// ContractEventName returns the user-defined event name.
func (SettlementChannelClosed) ContractEventName() string {
	return SettlementChannelClosedEventName
}

// UnpackChannelClosedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event ChannelClosed(bytes32 indexed channelId, (address,address,address,address,address,uint40,bytes32) config)
func (settlement *Settlement) UnpackChannelClosedEvent(log *types.Log) (*SettlementChannelClosed, error) {
	event := "ChannelClosed"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementChannelClosed)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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

// SettlementChannelCreated represents a ChannelCreated event raised by the Settlement contract.
type SettlementChannelCreated struct {
	ChannelId [32]byte
	Config    SettlementChannelConfig
	Raw       *types.Log // Blockchain specific contextual infos
}

const SettlementChannelCreatedEventName = "ChannelCreated"

// ContractEventName returns the user-defined event name.
func (SettlementChannelCreated) ContractEventName() string {
	return SettlementChannelCreatedEventName
}

// UnpackChannelCreatedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event ChannelCreated(bytes32 indexed channelId, (address,address,address,address,address,uint40,bytes32) config)
func (settlement *Settlement) UnpackChannelCreatedEvent(log *types.Log) (*SettlementChannelCreated, error) {
	event := "ChannelCreated"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementChannelCreated)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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

// SettlementClaimed represents a Claimed event raised by the Settlement contract.
type SettlementClaimed struct {
	ChannelId    [32]byte
	Sender       common.Address
	Amount       *big.Int
	TotalClaimed *big.Int
	Raw          *types.Log // Blockchain specific contextual infos
}

const SettlementClaimedEventName = "Claimed"

// ContractEventName returns the user-defined event name.
func (SettlementClaimed) ContractEventName() string {
	return SettlementClaimedEventName
}

// UnpackClaimedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Claimed(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 totalClaimed)
func (settlement *Settlement) UnpackClaimedEvent(log *types.Log) (*SettlementClaimed, error) {
	event := "Claimed"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementClaimed)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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

// SettlementDeposited represents a Deposited event raised by the Settlement contract.
type SettlementDeposited struct {
	ChannelId [32]byte
	Sender    common.Address
	Amount    *big.Int
	Balance   *big.Int
	Raw       *types.Log // Blockchain specific contextual infos
}

const SettlementDepositedEventName = "Deposited"

// ContractEventName returns the user-defined event name.
func (SettlementDeposited) ContractEventName() string {
	return SettlementDepositedEventName
}

// UnpackDepositedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 balance)
func (settlement *Settlement) UnpackDepositedEvent(log *types.Log) (*SettlementDeposited, error) {
	event := "Deposited"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementDeposited)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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

// SettlementEIP712DomainChanged represents a EIP712DomainChanged event raised by the Settlement contract.
type SettlementEIP712DomainChanged struct {
	Raw *types.Log // Blockchain specific contextual infos
}

const SettlementEIP712DomainChangedEventName = "EIP712DomainChanged"

// ContractEventName returns the user-defined event name.
func (SettlementEIP712DomainChanged) ContractEventName() string {
	return SettlementEIP712DomainChangedEventName
}

// UnpackEIP712DomainChangedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event EIP712DomainChanged()
func (settlement *Settlement) UnpackEIP712DomainChangedEvent(log *types.Log) (*SettlementEIP712DomainChanged, error) {
	event := "EIP712DomainChanged"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementEIP712DomainChanged)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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

// SettlementRefunded represents a Refunded event raised by the Settlement contract.
type SettlementRefunded struct {
	ChannelId [32]byte
	Sender    common.Address
	Amount    *big.Int
	Raw       *types.Log // Blockchain specific contextual infos
}

const SettlementRefundedEventName = "Refunded"

// ContractEventName returns the user-defined event name.
func (SettlementRefunded) ContractEventName() string {
	return SettlementRefundedEventName
}

// UnpackRefundedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount)
func (settlement *Settlement) UnpackRefundedEvent(log *types.Log) (*SettlementRefunded, error) {
	event := "Refunded"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementRefunded)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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

// SettlementSettled represents a Settled event raised by the Settlement contract.
type SettlementSettled struct {
	Receiver common.Address
	Token    common.Address
	Sender   common.Address
	Amount   *big.Int
	Raw      *types.Log // Blockchain specific contextual infos
}

const SettlementSettledEventName = "Settled"

// ContractEventName returns the user-defined event name.
func (SettlementSettled) ContractEventName() string {
	return SettlementSettledEventName
}

// UnpackSettledEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount)
func (settlement *Settlement) UnpackSettledEvent(log *types.Log) (*SettlementSettled, error) {
	event := "Settled"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementSettled)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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

// SettlementWithdrawFinalized represents a WithdrawFinalized event raised by the Settlement contract.
type SettlementWithdrawFinalized struct {
	ChannelId [32]byte
	Sender    common.Address
	Amount    *big.Int
	Raw       *types.Log // Blockchain specific contextual infos
}

const SettlementWithdrawFinalizedEventName = "WithdrawFinalized"

// ContractEventName returns the user-defined event name.
func (SettlementWithdrawFinalized) ContractEventName() string {
	return SettlementWithdrawFinalizedEventName
}

// UnpackWithdrawFinalizedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount)
func (settlement *Settlement) UnpackWithdrawFinalizedEvent(log *types.Log) (*SettlementWithdrawFinalized, error) {
	event := "WithdrawFinalized"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementWithdrawFinalized)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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

// SettlementWithdrawInitiated represents a WithdrawInitiated event raised by the Settlement contract.
type SettlementWithdrawInitiated struct {
	ChannelId     [32]byte
	Amount        *big.Int
	FinalizableAt *big.Int
	Raw           *types.Log // Blockchain specific contextual infos
}

const SettlementWithdrawInitiatedEventName = "WithdrawInitiated"

// ContractEventName returns the user-defined event name.
func (SettlementWithdrawInitiated) ContractEventName() string {
	return SettlementWithdrawInitiatedEventName
}

// UnpackWithdrawInitiatedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizableAt)
func (settlement *Settlement) UnpackWithdrawInitiatedEvent(log *types.Log) (*SettlementWithdrawInitiated, error) {
	event := "WithdrawInitiated"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != settlement.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(SettlementWithdrawInitiated)
	if len(log.Data) > 0 {
		if err := settlement.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range settlement.abi.Events[event].Inputs {
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
func (settlement *Settlement) UnpackError(raw []byte) (any, error) {
	if bytes.Equal(raw[:4], settlement.abi.Errors["AddressEmptyCode"].ID.Bytes()[:4]) {
		return settlement.UnpackAddressEmptyCodeError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["ClaimExceedsBalance"].ID.Bytes()[:4]) {
		return settlement.UnpackClaimExceedsBalanceError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["ClaimExceedsVoucher"].ID.Bytes()[:4]) {
		return settlement.UnpackClaimExceedsVoucherError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["DepositMismatch"].ID.Bytes()[:4]) {
		return settlement.UnpackDepositMismatchError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["FailedCall"].ID.Bytes()[:4]) {
		return settlement.UnpackFailedCallError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["InvalidAuthorizerSignature"].ID.Bytes()[:4]) {
		return settlement.UnpackInvalidAuthorizerSignatureError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["InvalidRefundNonce"].ID.Bytes()[:4]) {
		return settlement.UnpackInvalidRefundNonceError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["InvalidShortString"].ID.Bytes()[:4]) {
		return settlement.UnpackInvalidShortStringError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["InvalidVoucherSignature"].ID.Bytes()[:4]) {
		return settlement.UnpackInvalidVoucherSignatureError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["MixedReceiverAuthorizers"].ID.Bytes()[:4]) {
		return settlement.UnpackMixedReceiverAuthorizersError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["NoClaims"].ID.Bytes()[:4]) {
		return settlement.UnpackNoClaimsError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["NoWithdrawPending"].ID.Bytes()[:4]) {
		return settlement.UnpackNoWithdrawPendingError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["NotPayerSide"].ID.Bytes()[:4]) {
		return settlement.UnpackNotPayerSideError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["NotReceiverSide"].ID.Bytes()[:4]) {
		return settlement.UnpackNotReceiverSideError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["ReentrancyGuardReentrantCall"].ID.Bytes()[:4]) {
		return settlement.UnpackReentrancyGuardReentrantCallError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["SafeERC20FailedOperation"].ID.Bytes()[:4]) {
		return settlement.UnpackSafeERC20FailedOperationError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["StringTooLong"].ID.Bytes()[:4]) {
		return settlement.UnpackStringTooLongError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["WithdrawDelayOutOfRange"].ID.Bytes()[:4]) {
		return settlement.UnpackWithdrawDelayOutOfRangeError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["WithdrawExceedsBalance"].ID.Bytes()[:4]) {
		return settlement.UnpackWithdrawExceedsBalanceError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["WithdrawNotReady"].ID.Bytes()[:4]) {
		return settlement.UnpackWithdrawNotReadyError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["WithdrawPending"].ID.Bytes()[:4]) {
		return settlement.UnpackWithdrawPendingError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["ZeroAddress"].ID.Bytes()[:4]) {
		return settlement.UnpackZeroAddressError(raw[4:])
	}
	if bytes.Equal(raw[:4], settlement.abi.Errors["ZeroAmount"].ID.Bytes()[:4]) {
		return settlement.UnpackZeroAmountError(raw[4:])
	}
	return nil, errors.New("Unknown error")
}

// SettlementAddressEmptyCode represents a AddressEmptyCode error raised by the Settlement contract.
type SettlementAddressEmptyCode struct {
	Target common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error AddressEmptyCode(address target)
func SettlementAddressEmptyCodeErrorID() common.Hash {
	return common.HexToHash("0x9996b315c842ff135b8fc4a08ad5df1c344efbc03d2687aecc0678050d2aac89")
}

// UnpackAddressEmptyCodeError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error AddressEmptyCode(address target)
func (settlement *Settlement) UnpackAddressEmptyCodeError(raw []byte) (*SettlementAddressEmptyCode, error) {
	out := new(SettlementAddressEmptyCode)
	if err := settlement.abi.UnpackIntoInterface(out, "AddressEmptyCode", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementClaimExceedsBalance represents a ClaimExceedsBalance error raised by the Settlement contract.
type SettlementClaimExceedsBalance struct {
	TotalClaimed *big.Int
	Balance      *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ClaimExceedsBalance(uint128 totalClaimed, uint128 balance)
func SettlementClaimExceedsBalanceErrorID() common.Hash {
	return common.HexToHash("0x0357459477554fc71337ac601aefd0455128f828d89c3cb084a0a9dbbb135fc0")
}

// UnpackClaimExceedsBalanceError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ClaimExceedsBalance(uint128 totalClaimed, uint128 balance)
func (settlement *Settlement) UnpackClaimExceedsBalanceError(raw []byte) (*SettlementClaimExceedsBalance, error) {
	out := new(SettlementClaimExceedsBalance)
	if err := settlement.abi.UnpackIntoInterface(out, "ClaimExceedsBalance", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementClaimExceedsVoucher represents a ClaimExceedsVoucher error raised by the Settlement contract.
type SettlementClaimExceedsVoucher struct {
	TotalClaimed       *big.Int
	MaxClaimableAmount *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ClaimExceedsVoucher(uint128 totalClaimed, uint128 maxClaimableAmount)
func SettlementClaimExceedsVoucherErrorID() common.Hash {
	return common.HexToHash("0xf04d6953e6ffb848e8e9b920db01b768394c5d7bb65bd3623243237a58c1fc73")
}

// UnpackClaimExceedsVoucherError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ClaimExceedsVoucher(uint128 totalClaimed, uint128 maxClaimableAmount)
func (settlement *Settlement) UnpackClaimExceedsVoucherError(raw []byte) (*SettlementClaimExceedsVoucher, error) {
	out := new(SettlementClaimExceedsVoucher)
	if err := settlement.abi.UnpackIntoInterface(out, "ClaimExceedsVoucher", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementDepositMismatch represents a DepositMismatch error raised by the Settlement contract.
type SettlementDepositMismatch struct {
	Expected *big.Int
	Received *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error DepositMismatch(uint256 expected, uint256 received)
func SettlementDepositMismatchErrorID() common.Hash {
	return common.HexToHash("0xed5542346b666717b590de50f261485a1dc912c4339380b80e9984400d1412bb")
}

// UnpackDepositMismatchError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error DepositMismatch(uint256 expected, uint256 received)
func (settlement *Settlement) UnpackDepositMismatchError(raw []byte) (*SettlementDepositMismatch, error) {
	out := new(SettlementDepositMismatch)
	if err := settlement.abi.UnpackIntoInterface(out, "DepositMismatch", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementFailedCall represents a FailedCall error raised by the Settlement contract.
type SettlementFailedCall struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error FailedCall()
func SettlementFailedCallErrorID() common.Hash {
	return common.HexToHash("0xd6bda27508c0fb6d8a39b4b122878dab26f731a7d4e4abe711dd3731899052a4")
}

// UnpackFailedCallError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error FailedCall()
func (settlement *Settlement) UnpackFailedCallError(raw []byte) (*SettlementFailedCall, error) {
	out := new(SettlementFailedCall)
	if err := settlement.abi.UnpackIntoInterface(out, "FailedCall", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementInvalidAuthorizerSignature represents a InvalidAuthorizerSignature error raised by the Settlement contract.
type SettlementInvalidAuthorizerSignature struct {
	Authorizer common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error InvalidAuthorizerSignature(address authorizer)
func SettlementInvalidAuthorizerSignatureErrorID() common.Hash {
	return common.HexToHash("0x664e978d859a58cb82918a34a80dcee1ec95af7b681bfbbfb84f940933fcc34e")
}

// UnpackInvalidAuthorizerSignatureError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error InvalidAuthorizerSignature(address authorizer)
func (settlement *Settlement) UnpackInvalidAuthorizerSignatureError(raw []byte) (*SettlementInvalidAuthorizerSignature, error) {
	out := new(SettlementInvalidAuthorizerSignature)
	if err := settlement.abi.UnpackIntoInterface(out, "InvalidAuthorizerSignature", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementInvalidRefundNonce represents a InvalidRefundNonce error raised by the Settlement contract.
type SettlementInvalidRefundNonce struct {
	Expected *big.Int
	Given    *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error InvalidRefundNonce(uint256 expected, uint256 given)
func SettlementInvalidRefundNonceErrorID() common.Hash {
	return common.HexToHash("0x5e5c241996261711bcc28b7c3449911dc8aba872aeb80c416904633b10240fd4")
}

// UnpackInvalidRefundNonceError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error InvalidRefundNonce(uint256 expected, uint256 given)
func (settlement *Settlement) UnpackInvalidRefundNonceError(raw []byte) (*SettlementInvalidRefundNonce, error) {
	out := new(SettlementInvalidRefundNonce)
	if err := settlement.abi.UnpackIntoInterface(out, "InvalidRefundNonce", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementInvalidShortString represents a InvalidShortString error raised by the Settlement contract.
type SettlementInvalidShortString struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error InvalidShortString()
func SettlementInvalidShortStringErrorID() common.Hash {
	return common.HexToHash("0xb3512b0c6163e5f0bafab72bb631b9d58cd7a731b082f910338aa21c83d5c274")
}

// UnpackInvalidShortStringError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error InvalidShortString()
func (settlement *Settlement) UnpackInvalidShortStringError(raw []byte) (*SettlementInvalidShortString, error) {
	out := new(SettlementInvalidShortString)
	if err := settlement.abi.UnpackIntoInterface(out, "InvalidShortString", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementInvalidVoucherSignature represents a InvalidVoucherSignature error raised by the Settlement contract.
type SettlementInvalidVoucherSignature struct {
	ChannelId [32]byte
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error InvalidVoucherSignature(bytes32 channelId)
func SettlementInvalidVoucherSignatureErrorID() common.Hash {
	return common.HexToHash("0x692acc3dfb5b04f8c3f0305c6d55bf546e29fcec2ed859e6459b120300fec7f9")
}

// UnpackInvalidVoucherSignatureError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error InvalidVoucherSignature(bytes32 channelId)
func (settlement *Settlement) UnpackInvalidVoucherSignatureError(raw []byte) (*SettlementInvalidVoucherSignature, error) {
	out := new(SettlementInvalidVoucherSignature)
	if err := settlement.abi.UnpackIntoInterface(out, "InvalidVoucherSignature", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementMixedReceiverAuthorizers represents a MixedReceiverAuthorizers error raised by the Settlement contract.
type SettlementMixedReceiverAuthorizers struct {
	First common.Address
	Other common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error MixedReceiverAuthorizers(address first, address other)
func SettlementMixedReceiverAuthorizersErrorID() common.Hash {
	return common.HexToHash("0x02899c0f67f5c42313df0bf260f95b26061bc24873f99c95af6c9c0a6a9bfceb")
}

// UnpackMixedReceiverAuthorizersError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error MixedReceiverAuthorizers(address first, address other)
func (settlement *Settlement) UnpackMixedReceiverAuthorizersError(raw []byte) (*SettlementMixedReceiverAuthorizers, error) {
	out := new(SettlementMixedReceiverAuthorizers)
	if err := settlement.abi.UnpackIntoInterface(out, "MixedReceiverAuthorizers", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementNoClaims represents a NoClaims error raised by the Settlement contract.
type SettlementNoClaims struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NoClaims()
func SettlementNoClaimsErrorID() common.Hash {
	return common.HexToHash("0xe1205573b5123f95832e5f0335e4c49aeea55129b544f3e5393b57cd619de1a0")
}

// UnpackNoClaimsError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NoClaims()
func (settlement *Settlement) UnpackNoClaimsError(raw []byte) (*SettlementNoClaims, error) {
	out := new(SettlementNoClaims)
	if err := settlement.abi.UnpackIntoInterface(out, "NoClaims", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementNoWithdrawPending represents a NoWithdrawPending error raised by the Settlement contract.
type SettlementNoWithdrawPending struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NoWithdrawPending()
func SettlementNoWithdrawPendingErrorID() common.Hash {
	return common.HexToHash("0x4085a088842ec2d2552b515752c24d0796852a13fb43d8544c5969c1d439dac1")
}

// UnpackNoWithdrawPendingError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NoWithdrawPending()
func (settlement *Settlement) UnpackNoWithdrawPendingError(raw []byte) (*SettlementNoWithdrawPending, error) {
	out := new(SettlementNoWithdrawPending)
	if err := settlement.abi.UnpackIntoInterface(out, "NoWithdrawPending", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementNotPayerSide represents a NotPayerSide error raised by the Settlement contract.
type SettlementNotPayerSide struct {
	Sender common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NotPayerSide(address sender)
func SettlementNotPayerSideErrorID() common.Hash {
	return common.HexToHash("0x22fe4b319c00d813bc277b39ef4de5ac44285e8c6289123cccfbae76cd363efd")
}

// UnpackNotPayerSideError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NotPayerSide(address sender)
func (settlement *Settlement) UnpackNotPayerSideError(raw []byte) (*SettlementNotPayerSide, error) {
	out := new(SettlementNotPayerSide)
	if err := settlement.abi.UnpackIntoInterface(out, "NotPayerSide", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementNotReceiverSide represents a NotReceiverSide error raised by the Settlement contract.
type SettlementNotReceiverSide struct {
	Sender common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error NotReceiverSide(address sender)
func SettlementNotReceiverSideErrorID() common.Hash {
	return common.HexToHash("0x520e26ac2a70fd31fc7f085c422e31f626d0b977c3f828b0fea2d10a24cbcce1")
}

// UnpackNotReceiverSideError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error NotReceiverSide(address sender)
func (settlement *Settlement) UnpackNotReceiverSideError(raw []byte) (*SettlementNotReceiverSide, error) {
	out := new(SettlementNotReceiverSide)
	if err := settlement.abi.UnpackIntoInterface(out, "NotReceiverSide", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementReentrancyGuardReentrantCall represents a ReentrancyGuardReentrantCall error raised by the Settlement contract.
type SettlementReentrancyGuardReentrantCall struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ReentrancyGuardReentrantCall()
func SettlementReentrancyGuardReentrantCallErrorID() common.Hash {
	return common.HexToHash("0x3ee5aeb571de7fc460830b4d0017439a1ca56fb0bc39062227ade4fe4a24c1ca")
}

// UnpackReentrancyGuardReentrantCallError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ReentrancyGuardReentrantCall()
func (settlement *Settlement) UnpackReentrancyGuardReentrantCallError(raw []byte) (*SettlementReentrancyGuardReentrantCall, error) {
	out := new(SettlementReentrancyGuardReentrantCall)
	if err := settlement.abi.UnpackIntoInterface(out, "ReentrancyGuardReentrantCall", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementSafeERC20FailedOperation represents a SafeERC20FailedOperation error raised by the Settlement contract.
type SettlementSafeERC20FailedOperation struct {
	Token common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error SafeERC20FailedOperation(address token)
func SettlementSafeERC20FailedOperationErrorID() common.Hash {
	return common.HexToHash("0x5274afe73c98b4749fc91ffae6b7b574e7842cb2144a159e9377a5f20b32edf9")
}

// UnpackSafeERC20FailedOperationError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error SafeERC20FailedOperation(address token)
func (settlement *Settlement) UnpackSafeERC20FailedOperationError(raw []byte) (*SettlementSafeERC20FailedOperation, error) {
	out := new(SettlementSafeERC20FailedOperation)
	if err := settlement.abi.UnpackIntoInterface(out, "SafeERC20FailedOperation", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementStringTooLong represents a StringTooLong error raised by the Settlement contract.
type SettlementStringTooLong struct {
	Str string
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error StringTooLong(string str)
func SettlementStringTooLongErrorID() common.Hash {
	return common.HexToHash("0x305a27a93f8e33b7392df0a0f91d6fc63847395853c45991eec52dbf24d72381")
}

// UnpackStringTooLongError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error StringTooLong(string str)
func (settlement *Settlement) UnpackStringTooLongError(raw []byte) (*SettlementStringTooLong, error) {
	out := new(SettlementStringTooLong)
	if err := settlement.abi.UnpackIntoInterface(out, "StringTooLong", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementWithdrawDelayOutOfRange represents a WithdrawDelayOutOfRange error raised by the Settlement contract.
type SettlementWithdrawDelayOutOfRange struct {
	Delay *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error WithdrawDelayOutOfRange(uint40 delay)
func SettlementWithdrawDelayOutOfRangeErrorID() common.Hash {
	return common.HexToHash("0x723999051ca98fb04cd70aa5fd042e946d51d0197cf77dca1d421ca1f8688b3f")
}

// UnpackWithdrawDelayOutOfRangeError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error WithdrawDelayOutOfRange(uint40 delay)
func (settlement *Settlement) UnpackWithdrawDelayOutOfRangeError(raw []byte) (*SettlementWithdrawDelayOutOfRange, error) {
	out := new(SettlementWithdrawDelayOutOfRange)
	if err := settlement.abi.UnpackIntoInterface(out, "WithdrawDelayOutOfRange", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementWithdrawExceedsBalance represents a WithdrawExceedsBalance error raised by the Settlement contract.
type SettlementWithdrawExceedsBalance struct {
	Amount    *big.Int
	Available *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error WithdrawExceedsBalance(uint128 amount, uint128 available)
func SettlementWithdrawExceedsBalanceErrorID() common.Hash {
	return common.HexToHash("0xebf70f3303bbe45675e0d017c25db31f636e8be4269c0537528be268a71721d7")
}

// UnpackWithdrawExceedsBalanceError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error WithdrawExceedsBalance(uint128 amount, uint128 available)
func (settlement *Settlement) UnpackWithdrawExceedsBalanceError(raw []byte) (*SettlementWithdrawExceedsBalance, error) {
	out := new(SettlementWithdrawExceedsBalance)
	if err := settlement.abi.UnpackIntoInterface(out, "WithdrawExceedsBalance", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementWithdrawNotReady represents a WithdrawNotReady error raised by the Settlement contract.
type SettlementWithdrawNotReady struct {
	ReadyAt *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error WithdrawNotReady(uint256 readyAt)
func SettlementWithdrawNotReadyErrorID() common.Hash {
	return common.HexToHash("0xc1763c142dd77891946bf771233ef4f22a427dab44e377398b9b47b5c4be4e2f")
}

// UnpackWithdrawNotReadyError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error WithdrawNotReady(uint256 readyAt)
func (settlement *Settlement) UnpackWithdrawNotReadyError(raw []byte) (*SettlementWithdrawNotReady, error) {
	out := new(SettlementWithdrawNotReady)
	if err := settlement.abi.UnpackIntoInterface(out, "WithdrawNotReady", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementWithdrawPending represents a WithdrawPending error raised by the Settlement contract.
type SettlementWithdrawPending struct {
	InitiatedAt *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error WithdrawPending(uint40 initiatedAt)
func SettlementWithdrawPendingErrorID() common.Hash {
	return common.HexToHash("0xf074e2308a2f7d320706afc798cf58b938ba946145c81365729601dd642df368")
}

// UnpackWithdrawPendingError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error WithdrawPending(uint40 initiatedAt)
func (settlement *Settlement) UnpackWithdrawPendingError(raw []byte) (*SettlementWithdrawPending, error) {
	out := new(SettlementWithdrawPending)
	if err := settlement.abi.UnpackIntoInterface(out, "WithdrawPending", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementZeroAddress represents a ZeroAddress error raised by the Settlement contract.
type SettlementZeroAddress struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ZeroAddress()
func SettlementZeroAddressErrorID() common.Hash {
	return common.HexToHash("0xd92e233df2717d4a40030e20904abd27b68fcbeede117eaaccbbdac9618c8c73")
}

// UnpackZeroAddressError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ZeroAddress()
func (settlement *Settlement) UnpackZeroAddressError(raw []byte) (*SettlementZeroAddress, error) {
	out := new(SettlementZeroAddress)
	if err := settlement.abi.UnpackIntoInterface(out, "ZeroAddress", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// SettlementZeroAmount represents a ZeroAmount error raised by the Settlement contract.
type SettlementZeroAmount struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ZeroAmount()
func SettlementZeroAmountErrorID() common.Hash {
	return common.HexToHash("0x1f2a2005cb66a8e145327e8814e243a0996aec9bfe1e15a495778b1236dbd485")
}

// UnpackZeroAmountError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ZeroAmount()
func (settlement *Settlement) UnpackZeroAmountError(raw []byte) (*SettlementZeroAmount, error) {
	out := new(SettlementZeroAmount)
	if err := settlement.abi.UnpackIntoInterface(out, "ZeroAmount", raw); err != nil {
		return nil, err
	}
	return out, nil
}
