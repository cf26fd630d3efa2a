// Checks every vector in a folder with viem and node:crypto, and that none is
// still good once a byte is changed.
//
//   node check.mjs FOLDER
import { createHash, createPrivateKey, createPublicKey, sign as signEd, verify as verifyEd } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { concat, hashTypedData, keccak256, recoverAddress } from 'viem'
import { privateKeyToAccount, sign as signHash } from 'viem/accounts'

const folder = process.argv[2]
const read = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
const bytes = (hex) => Buffer.from(hex.replace(/^0x/, ''), 'hex')
const sha256 = (b) => createHash('sha256').update(b).digest()
const message = (domain, payload) => Buffer.concat([Buffer.from(domain), Buffer.from([0]), payload])

let checks = 0
function must(ok, what) {
  if (!ok) throw new Error(what)
  checks++
}
const same = (got, want, what) => must(Buffer.from(got).equals(Buffer.from(want)), `${what}: got ${Buffer.from(got).toString('hex')}`)

// Ed25519 over raw keys.
const publicKey = (raw) => createPublicKey({ key: Buffer.concat([bytes('302a300506032b6570032100'), raw]), format: 'der', type: 'spki' })
const privateKey = (seed) => createPrivateKey({ key: Buffer.concat([bytes('302e020100300506032b657004220420'), seed]), format: 'der', type: 'pkcs8' })
function ed25519(name, preimage, key) {
  const signature = bytes(key.signature)
  must(verifyEd(null, preimage, publicKey(bytes(key.public_key)), signature), `${name}: signature`)
  same(signEd(null, preimage, privateKey(bytes(key.private_key))), signature, `${name}: signed again`)
  const changed = Buffer.from(preimage)
  changed[changed.length - 1] ^= 1
  must(!verifyEd(null, changed, publicKey(bytes(key.public_key)), signature), `${name}: a changed byte goes unseen`)
}

// secp256k1 over a digest: 65 bytes, r, s and v of 27 or 28.
async function secp256k1(name, digest, v) {
  const signature = '0x' + bytes(v.signature).toString('hex')
  const key = '0x' + bytes(v.private_key).toString('hex')
  must((await recoverAddress({ hash: digest, signature })) === v.address, `${name}: signer`)
  must(privateKeyToAccount(key).address === v.address, `${name}: address`)
  must((await signHash({ hash: digest, privateKey: key, to: 'hex' })) === signature, `${name}: signed again`)
  const other = '0x' + Buffer.from(bytes(digest).map((b, i) => (i === 31 ? b ^ 1 : b))).toString('hex')
  must((await recoverAddress({ hash: other, signature }).catch(() => null)) !== v.address, `${name}: a changed byte goes unseen`)
}

// A Signed envelope: three fields of bytes.
const field = (n, b) => {
  const length = []
  for (let n = b.length; ; n >>>= 7) {
    if (n < 128) { length.push(n); break }
    length.push((n & 127) | 128)
  }
  return Buffer.concat([Buffer.from([(n << 3) | 2, ...length]), b])
}
for (const v of read('signed.json')) {
  const payload = bytes(v.payload)
  same(message(v.domain, payload), bytes(v.preimage), `${v.name}: preimage`)
  same(sha256(payload), bytes(v.sha256), `${v.name}: sha256`)
  ed25519(v.name, bytes(v.preimage), v)
  same(Buffer.concat([field(1, payload), field(2, bytes(v.public_key)), field(3, bytes(v.signature))]), bytes(v.envelope), `${v.name}: envelope`)
}

for (const v of read('keys.json')) {
  const expires = Buffer.alloc(8)
  expires.writeBigUInt64BE(BigInt(v.expires_ms))
  same(message('souk/keys/1', Buffer.concat([bytes(v.node_key), expires])), bytes(v.preimage), `${v.name}: preimage`)
  same(sha256(bytes(v.preimage)), bytes(v.digest), `${v.name}: digest`)
  await secp256k1(v.name, '0x' + v.digest, v)
}

// The encoded type must say what the list of types says: viem reads the list.
function encodedType(v) {
  const one = (name) => `${name}(${v.types[name].map((f) => `${f.type} ${f.name}`).join(',')})`
  const rest = Object.keys(v.types).filter((name) => name !== v.primaryType).sort()
  return [v.primaryType, ...rest].map(one).join('')
}
function typed(v) {
  const domain = { ...v.domain, chainId: Number(v.domain.chainId) }
  delete domain.salt
  must(encodedType(v) === v.encoded_type, `${v.name}: encoded type ${encodedType(v)}`)
  must(hashTypedData({ domain, types: v.types, primaryType: v.primaryType, message: v.message }) === v.digest, `${v.name}: digest`)
}
for (const v of read('eip712.json')) {
  typed(v)
  if (v.signature) await secp256k1(v.name, v.digest, v)
  if (v.salt) must(keccak256(concat([v.channel_id, v.salt])) === v.message.nonce, `${v.name}: nonce`)
}

let before = null
for (const v of read('receipts.json')) {
  typed(v)
  same(message('souk/receipt/1', bytes(v.digest)), bytes(v.preimage), `${v.name}: preimage`)
  ed25519(`${v.name}, provider`, bytes(v.preimage), v.provider)
  ed25519(`${v.name}, client`, bytes(v.preimage), v.client)
  must(bytes(v.provider.public_key).equals(bytes(v.message.providerKey)) && bytes(v.client.public_key).equals(bytes(v.message.clientKey)), `${v.name}: keys`)
  if (v.message.seq !== '1') must(v.message.prevReceipt === before, `${v.name}: chain`)
  before = v.digest
  if (!v.message.usage) continue
  let sum = 0n
  for (const l of v.message.usage) {
    must((BigInt(l.quantity) * BigInt(l.priceAtoms)) / BigInt(l.per) === BigInt(l.dueAtoms), `${v.name}: due for ${l.unit}`)
    sum += BigInt(l.dueAtoms)
  }
  must(sum === BigInt(v.message.cumulativeDueAtoms), `${v.name}: sum`)
}

// RFC 6962 trees.
const leaf = (b) => sha256(Buffer.concat([Buffer.from([0]), b]))
const parent = (a, b) => sha256(Buffer.concat([Buffer.from([1]), a, b]))
function root(leaves) {
  if (leaves.length === 1) return leaves[0]
  let half = 1
  while (half * 2 < leaves.length) half *= 2
  return parent(root(leaves.slice(0, half)), root(leaves.slice(half)))
}
for (const v of read('telemetry.json')) {
  for (const s of v.samples) {
    same(Buffer.concat([Buffer.from([0]), message('souk/telemetry/1', bytes(s.bytes))]), bytes(s.preimage), `${v.name}: preimage`)
    same(sha256(bytes(s.preimage)), bytes(s.leaf), `${v.name}: leaf`)
  }
  same(v.samples.length ? root(v.samples.map((s) => bytes(s.leaf))) : Buffer.alloc(32), bytes(v.root), `${v.name}: root`)
}
for (const v of read('log.json')) {
  must(v.entries.length === v.size, `${v.name}: size`)
  same(root(v.entries.map((e) => leaf(bytes(e)))), bytes(v.root), `${v.name}: root`)
  must(v.body === `${v.origin}\n${v.size}\n${bytes(v.root).toString('base64')}\n`, `${v.name}: body`)
  const [text, lines] = [v.note.slice(0, v.note.indexOf('\n\n') + 1), v.note.slice(v.note.indexOf('\n\n') + 2)]
  must(text === v.body, `${v.name}: note`)
  const [dash, name, blob] = lines.trimEnd().split(' ')
  const signature = Buffer.from(blob, 'base64')
  const typedKey = Buffer.concat([Buffer.from([1]), bytes(v.public_key)])
  must(dash === '—' && name === v.origin, `${v.name}: signature line`)
  same(signature.subarray(0, 4), sha256(Buffer.concat([Buffer.from(`${v.origin}\n`), typedKey])).subarray(0, 4), `${v.name}: key hash`)
  must(v.verifier_key === `${v.origin}+${signature.subarray(0, 4).toString('hex')}+${typedKey.toString('base64')}`, `${v.name}: verifier key`)
  ed25519(v.name, Buffer.from(v.body), { ...v, signature: signature.subarray(4).toString('hex') })
  const bodies = v.anchored.map((b) => Buffer.from(b)).sort(Buffer.compare)
  same(root(bodies.map(leaf)), bytes(v.anchor_root), `${v.name}: anchor root`)
  must(bodies[v.index].toString() === v.body, `${v.name}: index`)
}
console.log(`${checks} checks`)
