# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel in other languages, by Blender's own mechanism. English is the text in the code."""

from __future__ import annotations

import bpy

LANGUAGES = ("de_DE", "ja_JP", "zh_HANS", "fr_FR", "es")

#: English → German, Japanese, Chinese, French, Spanish. Labels, then tooltips.
_TEXTS: dict[str, tuple[str, str, str, str, str]] = {
    "Photograph": ("Foto", "写真", "照片", "Photo", "Fotografía"),
    "Result": ("Ergebnis", "結果", "结果", "Résultat", "Resultado"),
    "Scene": ("Szene", "シーン", "场景", "Scène", "Escena"),
    "Relief": ("Relief", "レリーフ", "浮雕", "Relief", "Relieve"),
    "Panorama": ("Panorama", "パノラマ", "全景", "Panorama", "Panorama"),
    "Displacement": ("Verschiebung", "ディスプレイスメント", "置换", "Déplacement", "Desplazamiento"),
    "Model": ("Modell", "モデル", "模型", "Modèle", "Modelo"),
    "Quality": ("Qualität", "品質", "质量", "Qualité", "Calidad"),
    "Fast": ("Schnell", "高速", "快速", "Rapide", "Rápida"),
    "Balanced": ("Ausgewogen", "バランス", "均衡", "Équilibrée", "Equilibrada"),
    "Fine": ("Fein", "高精細", "精细", "Fine", "Fina"),
    "Vertices": ("Eckpunkte", "頂点", "顶点", "Sommets", "Vértices"),
    "Adaptive": ("Adaptiv", "適応", "自适应", "Adaptatif", "Adaptativa"),
    "Triangles": ("Dreiecke", "三角形", "三角形", "Triangles", "Triángulos"),
    "Nearest": ("Nächstes", "最近", "最近", "Le plus proche", "Más cercano"),
    "Farthest": ("Fernstes", "最遠", "最远", "Le plus loin", "Más lejano"),
    "Lens": ("Objektiv", "レンズ", "镜头", "Objectif", "Lente"),
    "Cut Silhouettes": ("Umrisse trennen", "輪郭を切る", "切开轮廓", "Couper les silhouettes", "Cortar siluetas"),
    "Steepest": ("Steilste Fläche", "最大傾斜", "最大坡度", "Pente maximale", "Pendiente máxima"),
    "Keep Floors": ("Böden behalten", "床を残す", "保留地面", "Garder les sols", "Conservar suelos"),
    "Fill Behind": ("Dahinter füllen", "背後を埋める", "填充背后", "Remplir derrière", "Rellenar detrás"),
    "Remove Sky": ("Himmel entfernen", "空を除去", "移除天空", "Retirer le ciel", "Quitar el cielo"),
    "Solid": ("Massiv", "ソリッド", "实体", "Solide", "Sólido"),
    "Base": ("Sockel", "土台", "底座", "Base", "Base"),
    "Width": ("Breite", "幅", "宽度", "Largeur", "Ancho"),
    "Strength": ("Stärke", "強さ", "强度", "Force", "Intensidad"),
    "Live": ("Lebendig", "ライブ", "实时", "En direct", "En vivo"),
    "From Jump Of": ("Ab einem Sprung von", "段差のしきい値", "跳变阈值", "À partir d'un saut de", "Desde un salto de"),
    "Bake to Mesh": ("In Netz umwandeln", "メッシュにベイク", "烘焙为网格", "Convertir en maillage", "Convertir en malla"),
    "Paint Depth": ("Tiefe malen", "深度を描く", "绘制深度", "Peindre la profondeur", "Pintar profundidad"),
    "Nearer": ("Näher", "近く", "更近", "Plus près", "Más cerca"),
    "Farther": ("Ferner", "遠く", "更远", "Plus loin", "Más lejos"),
    "Remove": ("Entfernen", "除去", "移除", "Retirer", "Quitar"),
    "Erase": ("Radieren", "消しゴム", "擦除", "Effacer", "Borrar"),
    "Apply Paint": ("Malerei anwenden", "ペイントを適用", "应用绘制", "Appliquer la peinture", "Aplicar pintura"),
    "Clear Paint": ("Malerei verwerfen", "ペイントを消す", "清除绘制", "Effacer la peinture", "Borrar pintura"),
    "Paint Moves By": ("Malerei bewegt um", "ペイントの移動量", "绘制移动量", "La peinture déplace de", "La pintura mueve"),
    "Folder": ("Ordner", "フォルダー", "文件夹", "Dossier", "Carpeta"),
    "For Each": ("Für jedes", "それぞれ", "每张", "Pour chacune", "Para cada una"),
    "Generate Folder": ("Ordner erzeugen", "フォルダーを生成", "生成文件夹", "Générer le dossier", "Generar carpeta"),
    "Material": ("Material", "マテリアル", "材质", "Matériau", "Material"),
    "Match Render Settings": (
        "Rendereinstellungen anpassen", "レンダー設定を合わせる", "匹配渲染设置", "Adapter le rendu", "Ajustar el render",
    ),
    "Update Existing": ("Vorhandenes ändern", "既存を更新", "更新现有", "Mettre à jour", "Actualizar existente"),
    "Reference Points": ("Bezugspunkte", "基準点", "参考点", "Points de référence", "Puntos de referencia"),
    "Floors and Walls": ("Böden und Wände", "床と壁", "地面与墙面", "Sols et murs", "Suelos y paredes"),
    "Floor": ("Boden", "床", "地面", "Sol", "Suelo"),
    "Wall": ("Wand", "壁", "墙", "Mur", "Pared"),
    "Side Wall": ("Seitenwand", "側面の壁", "侧墙", "Mur latéral", "Pared lateral"),
    "Straighten": ("Gerade richten", "まっすぐにする", "校正", "Redresser", "Enderezar"),
    "Length": ("Länge", "長さ", "长度", "Longueur", "Longitud"),
    "Click on Both Ends": (
        "Auf beide Enden klicken", "両端をクリック", "点击两端", "Cliquer sur les deux bouts", "Pulsar ambos extremos",
    ),
    "Distance": ("Abstand", "距離", "距离", "Distance", "Distancia"),
    "Film": ("Film", "動画", "影片", "Film", "Película"),
    "Film Becomes": ("Film wird", "動画の結果", "影片将变成", "Le film devient", "La película será"),
    "Camera Move": ("Kamerafahrt", "カメラワーク", "镜头运动", "Mouvement de caméra", "Movimiento de cámara"),
    "Render for Both Eyes": (
        "Für beide Augen rendern", "両目用にレンダー", "渲染双眼画面", "Rendre pour les deux yeux", "Renderizar para ambos ojos",
    ),
    "Maps": ("Karten", "マップ", "贴图", "Cartes", "Mapas"),
    "Make Normal Map": (
        "Normalenkarte erzeugen", "法線マップを作成", "生成法线贴图", "Créer une carte de normales", "Crear mapa de normales",
    ),
    "Normals Model": ("Normalenmodell", "法線モデル", "法线模型", "Modèle de normales", "Modelo de normales"),
    "Export Maps": ("Karten schreiben", "マップを書き出す", "导出贴图", "Exporter les cartes", "Exportar mapas"),
    "Mesh": ("Netz", "メッシュ", "网格", "Maillage", "Malla"),
    "Generate": ("Erzeugen", "生成", "生成", "Générer", "Generar"),
    "Stop": ("Anhalten", "停止", "停止", "Arrêter", "Detener"),
    "Update Mesh": ("Netz erneuern", "メッシュを更新", "更新网格", "Mettre à jour le maillage", "Actualizar malla"),
    "Install Server": ("Server installieren", "サーバーをインストール", "安装服务器", "Installer le serveur", "Instalar servidor"),
    "Repair Server": ("Server reparieren", "サーバーを修復", "修复服务器", "Réparer le serveur", "Reparar servidor"),
    "Remove Server": ("Server entfernen", "サーバーを削除", "移除服务器", "Retirer le serveur", "Quitar servidor"),
    "Test Connection": ("Verbindung prüfen", "接続テスト", "测试连接", "Tester la connexion", "Probar conexión"),
    "Stop Server": ("Server beenden", "サーバーを停止", "停止服务器", "Arrêter le serveur", "Detener servidor"),
    "Generate Film": ("Film erzeugen", "動画を生成", "生成影片", "Générer le film", "Generar película"),
    "Add Camera Move": (
        "Kamerafahrt hinzufügen", "カメラワークを追加", "添加镜头运动", "Ajouter un mouvement", "Añadir movimiento",
    ),
    "Add Reference Point": (
        "Bezugspunkt setzen", "基準点を追加", "添加参考点", "Ajouter un point de référence", "Añadir punto de referencia",
    ),
    "Scale to Metres": ("Auf Meter bringen", "メートルに合わせる", "缩放到米", "Mettre à l'échelle", "Escalar a metros"),
    "The part that computes is not installed yet": (
        "Der rechnende Teil ist noch nicht installiert", "計算部分はまだインストールされていません", "计算部分尚未安装",
        "La partie qui calcule n'est pas encore installée", "La parte que calcula aún no está instalada",
    ),
    "What the photograph becomes": (
        "Was aus dem Foto wird", "写真が何になるか", "照片将变成什么", "Ce que devient la photo", "En qué se convierte la fotografía",
    ),
    "How much time to spend": (
        "Wie viel Zeit aufgewendet wird", "かける時間", "花费的时间", "Temps à consacrer", "Cuánto tiempo dedicar",
    ),
    "Turn the photograph into geometry. Blender stays usable meanwhile; Esc stops it": (
        "Macht aus dem Foto Geometrie. Blender bleibt währenddessen bedienbar; Esc hält an",
        "写真をジオメトリに変換します。処理中も Blender を使えます。Esc で停止します",
        "将照片转换为几何体。期间 Blender 仍可使用；按 Esc 停止",
        "Transforme la photo en géométrie. Blender reste utilisable ; Échap arrête",
        "Convierte la fotografía en geometría. Blender sigue disponible; Esc lo detiene",
    ),
}  # fmt: skip


def table() -> dict[str, dict[tuple[str, str], str]]:
    """As Blender wants it: language → (context, English) → translation; buttons have a context of their own."""
    return {
        language: {
            (context, english): texts[index] for english, texts in _TEXTS.items() for context in ("*", "Operator")
        }
        for index, language in enumerate(LANGUAGES)
    }


def register() -> None:
    bpy.app.translations.register(__package__, table())


def unregister() -> None:
    bpy.app.translations.unregister(__package__)
