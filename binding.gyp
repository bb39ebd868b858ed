# For tools that expect node-gyp. The native build is described once, in CMakeLists.txt; this only calls it.
{
  "targets": [
    {
      "target_name": "tsgpt",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt", "scripts/build-native.mjs"],
          "outputs": ["build/Release/tsgpt.node"],
          "action": ["node", "scripts/build-native.mjs"]
        }
      ]
    }
  ]
}
