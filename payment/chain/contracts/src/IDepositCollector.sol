// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What Settlement asks of a collector
/// @notice A collector moves a payer's tokens to the caller by one kind of authorization.
interface IDepositCollector {
    /// @notice Moves exactly `amount` of `token` from `payer` to the caller, or reverts.
    /// @param channelId What the payer's authorization must name.
    /// @param data The authorization, encoded as the collector defines.
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata data) external;
}
