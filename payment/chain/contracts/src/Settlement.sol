// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDepositCollector} from "./IDepositCollector.sol";

/// @title Settlement: one-way payment channels with cumulative vouchers
/// @notice Written from the interface of x402 batch-settlement. A payer's deposit is held per channel; the payer's
/// authorizer signs vouchers, each worth the sum of all before it; the receiver claims them in batches and is paid for
/// all its channels in one transfer. What is not claimed goes back by consent at once, or by the payer's will alone
/// after the channel's delay.
/// @dev For each token, this contract holds the sum over its channels of (balance - totalClaimed) and the sum over its
/// receivers of (totalClaimed - totalSettled). Nobody owns it and nothing can be changed. Signatures by plain keys are
/// 65 bytes with low s.
contract Settlement is EIP712, Multicall, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    struct ChannelConfig {
        address payer; // whose money it is
        address payerAuthorizer; // signs vouchers; zero: the payer does, which may then be a contract
        address receiver; // who is paid
        address receiverAuthorizer; // signs claims and refunds
        address token;
        uint40 withdrawDelay; // seconds from a withdrawal's start to its end
        bytes32 salt;
    }

    struct Voucher {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }

    struct VoucherClaim {
        Voucher voucher;
        bytes signature;
        uint128 totalClaimed; // what is claimed in all, at most what the voucher allows
    }

    struct Channel {
        uint128 balance; // deposits less refunds and withdrawals; claims do not lower it
        uint128 totalClaimed;
    }

    struct Withdrawal {
        uint128 amount;
        uint40 initiatedAt; // zero: none is pending
    }

    struct Receiver {
        uint128 totalClaimed;
        uint128 totalSettled;
    }

    bytes32 public constant CHANNEL_CONFIG_TYPEHASH = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 public constant REFUND_TYPEHASH = keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    bytes32 public constant CLAIM_ENTRY_TYPEHASH =
        keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");
    bytes32 public constant CLAIM_BATCH_TYPEHASH = keccak256(
        "ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"
    );

    /// @notice Below this a receiver could not react to a withdrawal in time.
    uint40 public constant MIN_WITHDRAW_DELAY = 15 minutes;
    /// @notice Above this a receiver could hold a payer's money hostage.
    uint40 public constant MAX_WITHDRAW_DELAY = 30 days;

    mapping(bytes32 channelId => Channel) public channels;
    mapping(bytes32 channelId => Withdrawal) public pendingWithdrawals;
    /// @notice The nonce that the next signed refund of a channel must carry.
    mapping(bytes32 channelId => uint256) public refundNonce;
    mapping(address receiver => mapping(address token => Receiver)) public receivers;

    event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
    event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
    event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 balance);
    event Claimed(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 totalClaimed);
    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
    event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
    event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizableAt);
    event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount);

    error ZeroAddress();
    error ZeroAmount();
    error WithdrawDelayOutOfRange(uint40 delay);
    error DepositMismatch(uint256 expected, uint256 received);
    error NoClaims();
    error NotReceiverSide(address sender);
    error NotPayerSide(address sender);
    error MixedReceiverAuthorizers(address first, address other);
    error InvalidVoucherSignature(bytes32 channelId);
    error InvalidAuthorizerSignature(address authorizer);
    error ClaimExceedsVoucher(uint128 totalClaimed, uint128 maxClaimableAmount);
    error ClaimExceedsBalance(uint128 totalClaimed, uint128 balance);
    error WithdrawExceedsBalance(uint128 amount, uint128 available);
    error WithdrawPending(uint40 initiatedAt);
    error NoWithdrawPending();
    error WithdrawNotReady(uint256 readyAt);
    error InvalidRefundNonce(uint256 expected, uint256 given);

    constructor() EIP712("x402 Batch Settlement", "1") {}

    // ---- money in ----

    /// @notice Adds `amount` to a channel. Anyone may call: the payer consents by what `collector` checks.
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData)
        external
        nonReentrant
    {
        _checkConfig(config);
        require(amount > 0, ZeroAmount());
        bytes32 id = getChannelId(config);
        Channel storage channel = channels[id];
        bool fresh = channel.balance == 0 && channel.totalClaimed == 0;
        channel.balance += amount;
        if (fresh) emit ChannelCreated(id, config);
        emit Deposited(id, msg.sender, amount, channel.balance);

        // The collector is the caller's choice and not trusted: only what has arrived counts.
        uint256 before = IERC20(config.token).balanceOf(address(this));
        IDepositCollector(collector).collect(config.payer, config.token, amount, id, collectorData);
        uint256 received = IERC20(config.token).balanceOf(address(this)) - before;
        require(received == amount, DepositMismatch(amount, received));
    }

    // ---- to the receiver ----

    /// @notice Claims vouchers; the sender must be on the receiver's side of every one. Moves no tokens.
    function claim(VoucherClaim[] calldata voucherClaims) external nonReentrant {
        require(voucherClaims.length > 0, NoClaims());
        for (uint256 i = 0; i < voucherClaims.length; i++) {
            ChannelConfig calldata config = voucherClaims[i].voucher.channel;
            require(
                msg.sender == config.receiver || msg.sender == config.receiverAuthorizer, NotReceiverSide(msg.sender)
            );
            _claim(voucherClaims[i]);
        }
    }

    /// @notice Claims vouchers for the receiver authorizer who signed the batch and is the same in every one.
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature)
        external
        nonReentrant
    {
        require(voucherClaims.length > 0, NoClaims());
        address authorizer = voucherClaims[0].voucher.channel.receiverAuthorizer;
        _checkAuthorizer(authorizer, getClaimBatchDigest(voucherClaims), authorizerSignature);
        for (uint256 i = 0; i < voucherClaims.length; i++) {
            address other = voucherClaims[i].voucher.channel.receiverAuthorizer;
            require(other == authorizer, MixedReceiverAuthorizers(authorizer, other));
            _claim(voucherClaims[i]);
        }
    }

    /// @notice Pays a receiver all that it has claimed and not yet been paid. Anyone may call; with nothing to pay it
    /// does nothing.
    function settle(address receiver, address token) external nonReentrant {
        Receiver storage r = receivers[receiver][token];
        uint128 amount = r.totalClaimed - r.totalSettled;
        if (amount == 0) return;
        r.totalSettled = r.totalClaimed;
        emit Settled(receiver, token, msg.sender, amount);
        IERC20(token).safeTransfer(receiver, amount);
    }

    // ---- back to the payer ----

    /// @notice Gives up to `amount` of what is not claimed back to the payer, by the receiver's side.
    function refund(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        require(msg.sender == config.receiver || msg.sender == config.receiverAuthorizer, NotReceiverSide(msg.sender));
        _refund(getChannelId(config), config, amount);
    }

    /// @notice As refund, by a signature of the receiver authorizer that is good for one nonce.
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external nonReentrant {
        bytes32 id = getChannelId(config);
        require(nonce == refundNonce[id], InvalidRefundNonce(refundNonce[id], nonce));
        _checkAuthorizer(config.receiverAuthorizer, getRefundDigest(id, nonce, amount), receiverAuthorizerSignature);
        _refund(id, config, amount);
    }

    /// @notice Starts the delay after which the payer may take `amount` without the receiver's consent. The receiver
    /// can still claim meanwhile.
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        _checkPayerSide(config);
        require(amount > 0, ZeroAmount());
        bytes32 id = getChannelId(config);
        // To raise an amount under a delay that already runs would cut the receiver's time short.
        require(pendingWithdrawals[id].initiatedAt == 0, WithdrawPending(pendingWithdrawals[id].initiatedAt));
        uint128 available = channels[id].balance - channels[id].totalClaimed;
        require(amount <= available, WithdrawExceedsBalance(amount, available));
        pendingWithdrawals[id] = Withdrawal(amount, uint40(block.timestamp));
        emit WithdrawInitiated(id, amount, uint40(block.timestamp) + config.withdrawDelay);
    }

    /// @notice Pays a withdrawal whose delay has passed, or what later claims left of it.
    function finalizeWithdraw(ChannelConfig calldata config) external nonReentrant {
        _checkPayerSide(config);
        bytes32 id = getChannelId(config);
        Withdrawal memory w = pendingWithdrawals[id];
        require(w.initiatedAt != 0, NoWithdrawPending());
        uint256 readyAt = uint256(w.initiatedAt) + config.withdrawDelay;
        require(block.timestamp >= readyAt, WithdrawNotReady(readyAt));
        delete pendingWithdrawals[id];
        uint128 available = channels[id].balance - channels[id].totalClaimed;
        uint128 amount = w.amount < available ? w.amount : available;
        emit WithdrawFinalized(id, msg.sender, amount);
        _giveBack(id, config, amount);
    }

    // ---- views ----

    /// @notice The EIP-712 hash of the config: one id for one config, chain and contract.
    function getChannelId(ChannelConfig calldata config) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    CHANNEL_CONFIG_TYPEHASH,
                    config.payer,
                    config.payerAuthorizer,
                    config.receiver,
                    config.receiverAuthorizer,
                    config.token,
                    config.withdrawDelay,
                    config.salt
                )
            )
        );
    }

    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, maxClaimableAmount)));
    }

    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REFUND_TYPEHASH, channelId, nonce, amount)));
    }

    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) public view returns (bytes32) {
        bytes32[] memory entries = new bytes32[](voucherClaims.length);
        for (uint256 i = 0; i < voucherClaims.length; i++) {
            VoucherClaim calldata c = voucherClaims[i];
            entries[i] = keccak256(
                abi.encode(
                    CLAIM_ENTRY_TYPEHASH,
                    getChannelId(c.voucher.channel),
                    c.voucher.maxClaimableAmount,
                    c.totalClaimed
                )
            );
        }
        return _hashTypedDataV4(keccak256(abi.encode(CLAIM_BATCH_TYPEHASH, keccak256(abi.encodePacked(entries)))));
    }

    // ---- inside ----

    function _checkConfig(ChannelConfig calldata config) private pure {
        require(
            config.payer != address(0) && config.receiver != address(0) && config.receiverAuthorizer != address(0)
                && config.token != address(0),
            ZeroAddress()
        );
        require(
            config.withdrawDelay >= MIN_WITHDRAW_DELAY && config.withdrawDelay <= MAX_WITHDRAW_DELAY,
            WithdrawDelayOutOfRange(config.withdrawDelay)
        );
    }

    function _checkPayerSide(ChannelConfig calldata config) private view {
        // A zero authorizer is nobody: msg.sender is never zero.
        require(msg.sender == config.payer || msg.sender == config.payerAuthorizer, NotPayerSide(msg.sender));
    }

    function _checkAuthorizer(address authorizer, bytes32 digest, bytes calldata signature) private view {
        require(
            SignatureChecker.isValidSignatureNowCalldata(authorizer, digest, signature),
            InvalidAuthorizerSignature(authorizer)
        );
    }

    function _checkVoucher(VoucherClaim calldata c, bytes32 id) private view {
        ChannelConfig calldata config = c.voucher.channel;
        bytes32 digest = getVoucherDigest(id, c.voucher.maxClaimableAmount);
        bool ok;
        if (config.payerAuthorizer == address(0)) {
            ok = SignatureChecker.isValidSignatureNowCalldata(config.payer, digest, c.signature);
        } else {
            (address signer, ECDSA.RecoverError err,) = ECDSA.tryRecoverCalldata(digest, c.signature);
            ok = err == ECDSA.RecoverError.NoError && signer == config.payerAuthorizer;
        }
        require(ok, InvalidVoucherSignature(id));
    }

    function _claim(VoucherClaim calldata c) private {
        ChannelConfig calldata config = c.voucher.channel;
        bytes32 id = getChannelId(config);
        _checkVoucher(c, id);
        require(
            c.totalClaimed <= c.voucher.maxClaimableAmount,
            ClaimExceedsVoucher(c.totalClaimed, c.voucher.maxClaimableAmount)
        );
        Channel storage channel = channels[id];
        // An old claim that arrives late is harmless, and must not spoil the batch it is in.
        if (c.totalClaimed <= channel.totalClaimed) return;
        require(c.totalClaimed <= channel.balance, ClaimExceedsBalance(c.totalClaimed, channel.balance));
        uint128 amount = c.totalClaimed - channel.totalClaimed;
        channel.totalClaimed = c.totalClaimed;
        receivers[config.receiver][config.token].totalClaimed += amount;
        emit Claimed(id, msg.sender, amount, c.totalClaimed);
    }

    function _refund(bytes32 id, ChannelConfig calldata config, uint128 amount) private {
        require(amount > 0, ZeroAmount());
        // First, and even if nothing moves: one signature, one attempt.
        refundNonce[id]++;
        uint128 available = channels[id].balance - channels[id].totalClaimed;
        if (amount > available) amount = available;
        if (amount == 0) return;
        Withdrawal storage w = pendingWithdrawals[id];
        if (w.initiatedAt != 0) {
            if (amount >= w.amount) delete pendingWithdrawals[id];
            else w.amount -= amount;
        }
        emit Refunded(id, msg.sender, amount);
        _giveBack(id, config, amount);
    }

    function _giveBack(bytes32 id, ChannelConfig calldata config, uint128 amount) private {
        if (amount == 0) return;
        Channel storage channel = channels[id];
        channel.balance -= amount;
        if (channel.balance == 0 && channel.totalClaimed == 0) emit ChannelClosed(id, config);
        IERC20(config.token).safeTransfer(config.payer, amount);
    }
}
