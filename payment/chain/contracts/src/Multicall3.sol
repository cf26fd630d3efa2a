// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The one Multicall3 function that x402 facilitators read a channel with
/// @notice Stands at Multicall3's well-known address on a devnet, where the published one is absent.
contract Multicall3 {
    struct Call {
        address target;
        bytes callData;
    }

    struct Result {
        bool success;
        bytes returnData;
    }

    error CallFailed(uint256 index);

    /// @notice Makes every call, and reverts at the first that fails if success is required.
    function tryAggregate(bool requireSuccess, Call[] calldata calls)
        external
        payable
        returns (Result[] memory returnData)
    {
        returnData = new Result[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            (bool success, bytes memory data) = calls[i].target.call(calls[i].callData);
            require(success || !requireSuccess, CallFailed(i));
            returnData[i] = Result(success, data);
        }
    }
}
