// The published x402 batch-settlement code, driven by interop_test.go: one JSON request on stdin, one JSON reply on
// stdout. "client" makes the payment that a wallet would send; "facilitator" verifies a payment and puts it, a claim,
// a settlement and a refund on the chain at `url`.
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { createPublicClient, createWalletClient, defineChain, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { toClientEvmSigner, toFacilitatorEvmSigner } from "@x402/evm";
import { BatchSettlementEvmScheme as Client, computeChannelId } from "@x402/evm/batch-settlement/client";
import { BatchSettlementEvmScheme as Facilitator } from "@x402/evm/batch-settlement/facilitator";

globalThis.crypto ??= webcrypto; // Node 18, which Debian 12 has, does not name it globally

const req = JSON.parse(readFileSync(0, "utf8"));
const chain = defineChain({
  id: req.chainId,
  name: "devnet",
  nativeCurrency: { name: "coin", symbol: "C", decimals: 18 },
  rpcUrls: { default: { http: [req.url] } },
});

async function client() {
  const reader = createPublicClient({ chain, transport: http() });
  const scheme = new Client(toClientEvmSigner(privateKeyToAccount(req.payerKey), reader), {
    voucherSigner: privateKeyToAccount(req.voucherKey),
    salt: req.salt,
  });
  const { payload } = await scheme.createPaymentPayload(2, req.requirements);
  return { channelId: computeChannelId(payload.channelConfig, req.requirements.network), payload };
}

async function facilitator() {
  const account = privateKeyToAccount(req.providerKey);
  const wallet = createWalletClient({ account, chain, transport: http(), pollingInterval: 20 }).extend(publicActions);
  const signer = toFacilitatorEvmSigner({
    address: account.address,
    getCode: (a) => wallet.getCode(a),
    readContract: (a) => wallet.readContract(a),
    verifyTypedData: (a) => wallet.verifyTypedData(a),
    writeContract: (a) => wallet.writeContract(a),
    sendTransaction: (a) => wallet.sendTransaction(a),
    waitForTransactionReceipt: (a) => wallet.waitForTransactionReceipt(a),
  });
  const scheme = new Facilitator(signer, account);
  const { payload, requirements } = req;
  const envelope = (p) => ({ x402Version: 2, accepted: requirements, payload: p });
  const verify = await scheme.verify(envelope(payload), requirements);
  const claims = [
    {
      voucher: { channel: payload.channelConfig, maxClaimableAmount: payload.voucher.maxClaimableAmount },
      signature: payload.voucher.signature,
      totalClaimed: req.claim,
    },
  ];
  const steps = {
    deposit: payload,
    claim: { type: "claim", claims },
    settle: { type: "settle", receiver: payload.channelConfig.receiver, token: payload.channelConfig.token },
    refund: {
      type: "refund",
      channelConfig: payload.channelConfig,
      voucher: payload.voucher,
      amount: req.refund,
      refundNonce: "0",
      claims,
    },
  };
  const results = {};
  for (const [name, p] of Object.entries(steps)) results[name] = await scheme.settle(envelope(p), requirements);
  return { verify, results };
}

const reply = await { client, facilitator }[req.role]();
console.log(JSON.stringify(reply, (_, v) => (typeof v === "bigint" ? v.toString() : v)));
