package devnet

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/contracts/anchors"
	"github.com/souk-market/souk/payment/chain/contracts/collector"
	"github.com/souk-market/souk/payment/chain/contracts/multicall"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
	"github.com/souk-market/souk/payment/chain/contracts/testtoken"
)

// blockGasLimit is what a block may use.
const blockGasLimit = 60_000_000

// multicallAddress is where x402 facilitators look for Multicall3 on any chain.
var multicallAddress = common.HexToAddress("0xcA11bde05977b3631167028862bE2a173976CA11")

// faucetKey is the same on every devnet and anyone may know it: what it gives
// away has no worth.
func faucetKey() (*ecdsa.PrivateKey, error) {
	seed := sha256.Sum256([]byte("souk devnet faucet"))
	return crypto.ToECDSA(seed[:])
}

// chainConfig is the rules of the chain: Osaka from the first block. The forks
// after it are not final, and gas should not change with the go-ethereum version.
func chainConfig() *params.ChainConfig {
	c := *params.AllDevChainProtocolChanges
	c.ChainID = big.NewInt(chain.DevnetChainID)
	c.AmsterdamTime, c.BogotaTime = nil, nil
	return &c
}

// genesis is the first block: the contracts where [chain.DevnetContracts] says,
// and all native coin with the faucet.
func genesis(faucet common.Address) (*core.Genesis, error) {
	alloc := core.SystemContractAllocs()
	at := chain.DevnetContracts()
	for _, d := range []struct {
		name     string
		address  common.Address
		initcode []byte
	}{
		{"Settlement", at.Settlement, creation(settlement.SettlementMetaData.Bin, nil)},
		{"ERC3009DepositCollector", at.Collector, creation(collector.ERC3009DepositCollectorMetaData.Bin,
			collector.NewERC3009DepositCollector().PackConstructor(at.Settlement))},
		{"TestToken", at.Token, creation(testtoken.TestTokenMetaData.Bin, testtoken.NewTestToken().PackConstructor(faucet))},
		{"Anchors", at.Anchors, creation(anchors.AnchorsMetaData.Bin, nil)},
		{"Multicall3", multicallAddress, creation(multicall.Multicall3MetaData.Bin, nil)},
	} {
		account, err := construct(d.address, d.initcode)
		if err != nil {
			return nil, fmt.Errorf("construct %s: %w", d.name, err)
		}
		alloc[d.address] = account
	}
	coins := new(big.Int).Mul(big.NewInt(1e9), big.NewInt(params.Ether))
	alloc[faucet] = types.Account{Balance: coins}
	return &core.Genesis{
		Config:   chainConfig(),
		GasLimit: blockGasLimit,
		BaseFee:  big.NewInt(params.InitialBaseFee),
		Alloc:    alloc,
	}, nil
}

// creation is the creation code with its constructor's arguments.
func creation(bin string, args []byte) []byte { return append(common.FromHex(bin), args...) }

// construct runs a constructor at the address where the contract will stand, so
// that what it fixes for good (an EIP-712 domain holds that address and the
// chain's id) is right, and returns the account it leaves behind.
func construct(at common.Address, initcode []byte) (types.Account, error) {
	db := rawdb.NewMemoryDatabase()
	// Without preimages a dump has no storage keys.
	config := *triedb.HashDefaults
	config.Preimages = true
	tries := triedb.NewDatabase(db, &config)
	defer tries.Close()
	states := state.NewDatabase(tries, state.NewCodeDB(db))
	s, err := state.New(types.EmptyRootHash, states)
	if err != nil {
		return types.Account{}, fmt.Errorf("open state: %w", err)
	}
	rules := chainConfig()
	s.SetCode(at, initcode, tracing.CodeChangeUnspecified)
	s.SetNonce(at, 1, tracing.NonceChangeUnspecified)
	code, _, err := runtime.Call(at, nil, &runtime.Config{ChainConfig: rules, State: s, GasLimit: blockGasLimit})
	if err != nil {
		return types.Account{}, fmt.Errorf("run constructor: %w", err)
	}
	root, err := s.Commit(rules.Rules(new(big.Int), true, 0), 0)
	if err != nil {
		return types.Account{}, fmt.Errorf("commit state: %w", err)
	}
	if s, err = state.New(root, states); err != nil {
		return types.Account{}, fmt.Errorf("reopen state: %w", err)
	}
	account := types.Account{Code: code, Nonce: 1, Balance: new(big.Int), Storage: make(map[common.Hash]common.Hash)}
	dump := s.RawDump(&state.DumpConfig{SkipCode: true})
	for slot, value := range dump.Accounts[at.Hex()].Storage {
		account.Storage[slot] = common.HexToHash(value)
	}
	return account, nil
}
