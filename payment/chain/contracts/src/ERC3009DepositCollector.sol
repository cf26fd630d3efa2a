// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IDepositCollector} from "./IDepositCollector.sol";

/// @notice The part of an ERC-3009 token that the collector calls.
interface IReceiveWithAuthorization {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}

/// @title Deposits by ERC-3009
/// @notice The payer signs an authorization to this contract; whoever submits the deposit pays the gas.
/// @dev The authorization's nonce is the hash of the channel and a salt, so it can fund no other channel. It holds no
/// tokens between calls: a token without a `bytes` signature variant of ERC-3009 is not supported.
contract ERC3009DepositCollector is IDepositCollector {
    using SafeERC20 for IERC20;

    /// @notice The only contract that may collect, and the one that is paid.
    address public immutable SETTLEMENT;

    /// @notice Somebody other than Settlement called.
    error OnlySettlement();

    constructor(address settlement) {
        SETTLEMENT = settlement;
    }

    /// @inheritdoc IDepositCollector
    /// @param data abi.encode(uint256 validAfter, uint256 validBefore, uint256 salt, bytes signature)
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata data) external {
        // Else a bystander could spend the authorization and leave the tokens here.
        require(msg.sender == SETTLEMENT, OnlySettlement());
        (uint256 validAfter, uint256 validBefore, uint256 salt, bytes memory signature) =
            abi.decode(data, (uint256, uint256, uint256, bytes));
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        IReceiveWithAuthorization(token).receiveWithAuthorization(
            payer, address(this), amount, validAfter, validBefore, nonce, signature
        );
        IERC20(token).safeTransfer(SETTLEMENT, amount);
    }
}
