package chain

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// FaucetReply is what the devnet's souk_faucet method answers.
type FaucetReply struct {
	Transaction common.Hash    `json:"transaction"` // once mined, all of the gift is there
	Atoms       hexutil.Uint64 `json:"atoms"`       // tokens given
}
