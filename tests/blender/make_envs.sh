#!/bin/bash
# make_envs.sh [4.2|4.5|5.0|5.3 ...]    makes the Blender environments that tests/blender run in
#
# Blender as a Python module (the `bpy` wheels) wants Python 3.11 exactly, from 5.1 on 3.13, and Blender 4.5 wants NumPy
# 1.x, so each Blender lives in its own folder at the repository root: .venv-bpy42, .venv-bpy45, .venv-bpy50, .venv-bpy53.
# pyzmq is left out on purpose: it has to come out of the extension's own .zip, as in an artist's Blender.
# PYTHON311 and PYTHON313 name other Pythons. Folders that are complete are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

declare -A bpy=([4.2]=4.2.23 [4.5]=4.5.15 [5.0]=5.0.1 [5.3]=5.3.0)
pytest=9.0.2
versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(4.2 4.5)

for version in "${versions[@]}"; do
  [ -n "${bpy[$version]:-}" ] || { echo "no pinned bpy for Blender $version; known: ${!bpy[*]}" >&2; exit 1; }
  folder=.venv-bpy${version/./}
  if "$folder/bin/python" -m pip show -q "bpy" 2>/dev/null; then
    echo "$folder: present"
    continue
  fi
  if [ "$version" = 5.3 ]; then wanted=3.13 python=${PYTHON313:-python3.13} numpy=2.5.5
  else wanted=3.11 python=${PYTHON311:-python3.11} numpy=1.26.4; fi
  "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$wanted')" \
    || { echo "$python is not Python $wanted; set PYTHON${wanted/./}" >&2; exit 1; }
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install -q "bpy==${bpy[$version]}" "numpy==$numpy" "pytest==$pytest"
  echo "$folder: Blender ${bpy[$version]}, $(du -sh "$folder" | cut -f1)"
done
