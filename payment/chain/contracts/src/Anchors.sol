// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Anchors for receipt logs
/// @notice Puts the root of a tree over many log checkpoints into a block, and so gives it a time nobody can forge.
/// It keeps no state: the proof is the event.
contract Anchors {
    /// @param root The Merkle root over the checkpoints.
    /// @param count How many checkpoints it covers.
    event Anchored(bytes32 indexed root, uint64 count);

    /// @notice An anchor covers at least one checkpoint.
    error NothingToAnchor();

    function anchor(bytes32 root, uint64 count) external {
        require(count > 0, NothingToAnchor());
        emit Anchored(root, count);
    }
}
